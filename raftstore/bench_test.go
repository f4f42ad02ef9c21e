package raftstore

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/internal/testport"
)

// benchCluster is three nodes with the default timeouts and fsync, as in
// production.
func benchCluster(b *testing.B) []*Node {
	b.Helper()
	var cfgs []Config
	var members []InitialMember
	for _, name := range []string{"n1", "n2", "n3"} {
		cfg := DefaultConfig()
		cfg.DataDir, cfg.NodeName, cfg.PeerListen = b.TempDir(), name, testport.Free(b, 1)[0]
		cfgs = append(cfgs, cfg)
		members = append(members, InitialMember{Name: name, Address: cfg.PeerListen})
	}
	nodes := make([]*Node, len(cfgs))
	var wg sync.WaitGroup
	for i, cfg := range cfgs {
		cfg.InitialCluster = members
		wg.Go(func() {
			var err error
			if nodes[i], err = Open(context.Background(), cfg, &countMachine{}); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.Cleanup(func() {
		for _, n := range nodes {
			n.Kill()
		}
	})
	return nodes
}

// countMachine does next to nothing, so that the log is what is measured.
type countMachine struct{ toyMachine }

func (m *countMachine) ApplyBatch(entries []Entry) ([]any, error) {
	return make([]any, len(entries)), nil
}

// benchLeader returns when a node has committed something in its term.
func benchLeader(nodes []*Node) *Node {
	for {
		for _, n := range nodes {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			err := n.Barrier(ctx)
			cancel()
			if err == nil {
				return n
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkFailover measures the time from the death of a leader to the first
// confirmed leadership of another node, while proposals of 1 KiB keep the disks
// busy. Run it with -benchtime=30x.
func BenchmarkFailover(b *testing.B) {
	var times []time.Duration
	for b.Loop() {
		b.StopTimer()
		nodes := benchCluster(b)
		leader := benchLeader(nodes)
		stop := make(chan struct{})
		var load sync.WaitGroup
		for _, n := range nodes {
			load.Go(func() { propose(n, stop) })
		}
		time.Sleep(500 * time.Millisecond)
		leader = benchLeader(nodes)
		rest := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == leader })
		b.StartTimer()
		start := time.Now()
		go leader.Kill()
		benchLeader(rest)
		times = append(times, time.Since(start))
		b.StopTimer()
		close(stop)
		load.Wait()
		for _, n := range nodes {
			n.Kill()
		}
		b.StartTimer()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(times[len(times)-1].Milliseconds()), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// propose keeps 64 proposals of 1 KiB in flight on whoever leads.
func propose(n *Node, stop chan struct{}) (done int) {
	payload := bytes.Repeat([]byte("x"), 1024)
	var futures []Future
	for {
		select {
		case <-stop:
			return done
		default:
		}
		futures = futures[:0]
		for range 64 {
			futures = append(futures, n.Propose(context.Background(), toyAppend, payload))
		}
		for _, f := range futures {
			if _, _, err := f.Wait(context.Background()); err == nil {
				done++
			}
		}
		if !n.IsLeader() {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// electionRound is how long one round of BenchmarkElections lasts.
const electionRound = 2 * time.Minute

// BenchmarkElections counts the elections that nothing but load caused. Run it
// with -benchtime=5x for ten minutes.
func BenchmarkElections(b *testing.B) {
	var elections, commits, rounds float64
	for b.Loop() {
		nodes := benchCluster(b)
		before := benchLeader(nodes).Term()
		var load sync.WaitGroup
		stop := make(chan struct{})
		done := make([]int, len(nodes))
		for i, n := range nodes {
			load.Go(func() { done[i] = propose(n, stop) })
		}
		time.Sleep(electionRound)
		close(stop)
		load.Wait()
		rounds++
		for _, d := range done {
			commits += float64(d)
		}
		elections += float64(benchLeader(nodes).Term() - before)
		for _, n := range nodes {
			n.Kill()
		}
	}
	b.ReportMetric(elections, "elections")
	b.ReportMetric(commits/rounds/electionRound.Seconds(), "commits/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPropose measures one proposal at a time: the latency of a commit.
func BenchmarkPropose(b *testing.B) {
	leader := benchLeader(benchCluster(b))
	payload := bytes.Repeat([]byte("x"), 1024)
	for b.Loop() {
		if _, _, err := leader.Propose(context.Background(), toyAppend, payload).Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBarrier measures what a linearizable read costs before the read.
func BenchmarkBarrier(b *testing.B) {
	leader := benchLeader(benchCluster(b))
	for b.Loop() {
		if err := leader.Barrier(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
