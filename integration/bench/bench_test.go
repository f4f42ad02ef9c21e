package bench

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
)

func cluster(b *testing.B) (c *harness.Cluster, leader, follower int) {
	b.Helper()
	c = harness.Processes(b, harness.Options{})
	c.WaitForAllToKnow()
	return c, c.Leader().Index, c.Followers()[0]
}

func percentile(d []time.Duration, p float64) float64 {
	slices.Sort(d)
	return float64(d[int(p*float64(len(d)-1))].Microseconds()) / 1000
}

// BenchmarkFlush is one flush of 256 changes at a time, from the send to the ack:
// on the leader, and on another node, which forwards.
func BenchmarkFlush(b *testing.B) {
	c, leader, follower := cluster(b)
	for name, node := range map[string]int{"leader": leader, "follower": follower} {
		b.Run(name, func(b *testing.B) {
			s := openSlot(b, c, node)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				s.flush(0, 256)
				s.acked()
				took = append(took, time.Since(start))
			}
			b.ReportMetric(percentile(took, 0.5), "p50-ms")
			b.ReportMetric(percentile(took, 0.99), "p99-ms")
		})
	}
}

// BenchmarkUpdates sends 100,000 coalesced key updates a second for ten seconds,
// on schedule whatever is acknowledged, and tells how long acks took and how many
// flushes waited at most: a queue that grows shows in both.
func BenchmarkUpdates(b *testing.B) {
	const perSecond, ops, keys = 100_000, 1000, 100_000
	c, _, follower := cluster(b)
	for b.Loop() {
		s := openSlot(b, c, follower)
		sent := make([]time.Time, 0, 10*perSecond/ops+1)
		var took []time.Duration
		most, through := 0, uint64(0)
		done := make(chan uint64, 4096)
		total := 10 * perSecond / ops
		go func() {
			for n := uint64(0); n < uint64(total); {
				n = s.acked()
				done <- n
			}
			close(done)
		}()
		take := func(n uint64) {
			for ; through < n; through++ {
				took = append(took, time.Since(sent[through]))
			}
		}
		tick := time.NewTicker(time.Second * ops / perSecond)
		for len(sent) < total {
			select {
			case n := <-done:
				take(n)
			case <-tick.C:
				if len(sent)-int(through) < 64 {
					sent = append(sent, time.Now())
					s.flush(len(sent)*ops%keys, ops)
					most = max(most, len(sent)-int(through))
				}
			}
		}
		tick.Stop()
		for n := range done {
			take(n)
		}
		first := sent[0]
		b.ReportMetric(float64(total*ops)/sent[len(sent)-1].Sub(first).Seconds(), "updates/s")
		b.ReportMetric(float64(most), "most-in-flight")
		b.ReportMetric(percentile(took[:len(took)/2], 0.5), "p50-ms-first-half")
		b.ReportMetric(percentile(took[len(took)/2:], 0.5), "p50-ms-second-half")
		b.ReportMetric(percentile(took, 0.99), "p99-ms")
	}
}

// BenchmarkCounter is the counter with the working copy on a generated source,
// 100,000 keys, 1 s checkpoints, memory backend on three node processes: records
// a core-second of the operator, and log entries a second.
func BenchmarkCounter(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "counter")
	build := exec.Command("go", "build", "-o", bin, "./counter")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		b.Fatal(err)
	}
	c, leader, _ := cluster(b)
	for b.Loop() {
		job := harness.RandomName("counter")
		cmd := exec.Command(bin, "-job", job)
		cmd.Env = append(os.Environ(), "HOLDFAST_ADDRESS="+strings.Join(c.Addresses(), ","))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan() // {"measuring":true}
		before, checkpoints := commandsApplied(b, c, leader), completed(c, job)
		lines.Scan()
		entries := commandsApplied(b, c, leader) - before
		checkpoints = completed(c, job) - checkpoints
		var r struct {
			Records    float64 `json:"records"`
			CPUSeconds float64 `json:"cpu_seconds"`
			Seconds    float64 `json:"seconds"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			b.Fatalf("the operator said %q: %v", lines.Text(), err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := c.Cancel(job); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.Records/r.Seconds, "records/s")
		b.ReportMetric(r.Records/r.CPUSeconds, "records/core-s")
		b.ReportMetric(float64(entries)/r.Seconds, "entries/s")
		b.ReportMetric(float64(checkpoints)/r.Seconds, "checkpoints/s")
	}
}

func completed(c *harness.Cluster, job string) uint64 { return c.Checkpoints(job).Counts.Completed }
