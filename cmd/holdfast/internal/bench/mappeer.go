package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// MapPeerConfig says what to count, and how long.
type MapPeerConfig struct {
	Keys []int64
	// Interval is that of the checkpoints.
	Interval time.Duration
	// WarmUp is the first turn of each, which is not counted; then Rounds of turns
	// of Duration.
	WarmUp, Duration time.Duration
	Rounds           int
	// Operator is the command line of the process that counts; see CounterBesideMap.
	Operator []string
}

// MapPeerReport is the counter with its working copy, on the filesystem backend with
// checkpoints, beside the same loop on a plain map without any.
type MapPeerReport struct {
	Machine Machine   `json:"machine"`
	Rows    []MapPeer `json:"rows"`
}

// MapPeer is that for one number of keys.
type MapPeer struct {
	Keys int64 `json:"keys"`
	// PerSecond and PlainPerSecond are records a second, Ratio the first by the
	// second, round by round.
	PerSecond      Spread `json:"records_per_second"`
	PlainPerSecond Spread `json:"plain_map_records_per_second"`
	Ratio          Spread `json:"ratio"`
	// Processor seconds of a million records: of the operator, of the node, and of
	// the plain loop.
	CPU      Spread `json:"cpu_seconds_per_million"`
	NodeCPU  Spread `json:"node_cpu_seconds_per_million"`
	PlainCPU Spread `json:"plain_map_cpu_seconds_per_million"`
	// Counted are the records of which every key was compared.
	Counted     int64  `json:"counted_records"`
	Checkpoints uint64 `json:"checkpoints"`
}

// BesideMap runs a counter and a plain map by turns.
func BesideMap(ctx context.Context, cfg Config, f MapPeerConfig) (r *MapPeerReport, err error) {
	r = &MapPeerReport{Machine: ThisMachine()}
	c, err := openSized(ctx, cfg, alone, "--storage-allowed-roots", "file://"+roomFlag+"/checkpoints")
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	if err := os.Mkdir(c.room(), 0o700); err != nil {
		return nil, err
	}
	for _, keys := range f.Keys {
		row, err := c.besideMap(ctx, f, keys)
		if err != nil {
			return nil, fmt.Errorf("%d keys: %w", keys, err)
		}
		r.Rows = append(r.Rows, *row)
	}
	return r, nil
}

// room is where jobs of a cluster of our own have their checkpoints.
func (c *cluster) room() string { return filepath.Join(c.dir, "checkpoints") }

func (c *cluster) besideMap(ctx context.Context, f MapPeerConfig, keys int64) (*MapPeer, error) {
	host, _, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	op := &counter{c: c, job: jobName()}
	op.cmd = exec.CommandContext(ctx, f.Operator[0], append(slices.Clone(f.Operator[1:]), "--job", op.job, "--directory", "file://"+c.room(),
		"--keys", fmt.Sprint(keys), "--interval", f.Interval.String(), "--warm-up", f.WarmUp.String(), "--duration", f.Duration.String(),
		"--rounds", fmt.Sprint(f.Rounds), "--node-pid", fmt.Sprint(host.pid))...)
	op.cmd.Env = slices.Concat(os.Environ(), c.cfg.TLS.Override(), []string{"HOLDFAST_ADDRESS=" + strings.Join(c.calls.Addresses(), ",")})
	op.cmd.Stderr = os.Stderr
	out, err := op.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	op.lines = bufio.NewScanner(out)
	op.lines.Buffer(nil, 1<<20)
	if err := op.cmd.Start(); err != nil {
		return nil, err
	}
	defer op.c.cancelJob(op.job)
	defer op.end()
	c.cfg.Note(fmt.Sprintf("counting %d keys, by turns with a plain map", keys))
	var line mapLine
	if !op.lines.Scan() {
		return nil, errors.Join(errors.New("the operator of the measurement ended early"), op.lines.Err())
	}
	if err := json.Unmarshal(op.lines.Bytes(), &line); err != nil {
		return nil, fmt.Errorf("the operator of the measurement said %q: %w", op.lines.Text(), err)
	}
	c.cfg.Note("comparing every count")
	row := line.row(keys)
	if row.Checkpoints, err = c.flushed(ctx, op.job); err != nil {
		return nil, err
	}
	return row, c.checkGenerated(ctx, op.job, keys, line.Counted)
}

func (l mapLine) row(keys int64) *MapPeer {
	r := &MapPeer{Keys: keys, Counted: l.Counted}
	var job, plain, cpu, node, plainCPU []float64
	for _, x := range l.Rounds {
		job, plain = append(job, x.Job.Records/x.Job.Seconds), append(plain, x.Plain.Records/x.Plain.Seconds)
		cpu, node = append(cpu, x.Job.CPU/x.Job.Records*1e6), append(node, x.Job.NodeCPU/x.Job.Records*1e6)
		plainCPU = append(plainCPU, x.Plain.CPU/x.Plain.Records*1e6)
	}
	r.PerSecond, r.PlainPerSecond, r.Ratio = spreadOf(job), spreadOf(plain), spreadOf(each(job, plain, ratio))
	r.CPU, r.NodeCPU, r.PlainCPU = spreadOf(cpu), spreadOf(node), spreadOf(plainCPU)
	return r
}

// flushed waits for two more checkpoints of a job that counts no more: by then all
// of it is on the host.
func (c *cluster) flushed(ctx context.Context, job string) (uint64, error) {
	give := time.Now().Add(c.patience())
	for first := uint64(0); ; {
		list, err := c.checkpoints(ctx, job)
		if err != nil {
			return 0, err
		}
		n := list.GetCounts().GetCompleted()
		if first == 0 {
			first = n
		}
		if n >= first+2 {
			return n, nil
		}
		if time.Now().After(give) {
			return 0, errors.New("the checkpoints of the measurement do not complete")
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// checkGenerated compares every key with what the generator gives for the same
// number of records.
func (c *cluster) checkGenerated(ctx context.Context, job string, keys, records int64) error {
	want, err := newPlainCounter(ctx, keys)
	if err != nil {
		return err
	}
	if err := want.exactly(ctx, records); err != nil {
		return err
	}
	got, err := c.scan(ctx, &holdfastv1.StateSelector{Job: job, OperatorUid: counterUID, StateName: stateName})
	if err != nil {
		return fmt.Errorf("read the counts of the measurement: %w", err)
	}
	if len(got) != len(want.counts) {
		return fmt.Errorf("the counts are wrong: %d keys after %d records, and there must be %d", len(got), records, len(want.counts))
	}
	for k, n := range want.counts {
		if got[k] != n {
			return fmt.Errorf("the counts are wrong: %s has %d after %d records, and it must have %d", k, got[k], records, n)
		}
	}
	return nil
}
