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
func benchLeader(b *testing.B, nodes []*Node) *Node {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		for _, n := range nodes {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			err := n.Barrier(ctx)
			cancel()
			if err == nil {
				return n
			}
		}
	}
	b.Fatalf("no node led within %s", patience)
	return nil
}

// benchBusy is how many entries are applied before a leader is killed: then the
// disks are at work.
const benchBusy = 2000

// waitBusy returns when a node has applied so many entries of the load.
func waitBusy(b *testing.B, n *Node) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.WaitApplied(ctx, n.AppliedIndex()+benchBusy); err != nil {
		b.Fatalf("wait for the load: %v", err)
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
		leader := benchLeader(b, nodes)
		stop := make(chan struct{})
		var load sync.WaitGroup
		for _, n := range nodes {
			load.Go(func() { propose(n, stop) })
		}
		waitBusy(b, leader)
		leader = benchLeader(b, nodes)
		rest := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == leader })
		b.StartTimer()
		start := time.Now()
		go leader.Kill()
		benchLeader(b, rest)
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
	changes, cancel := n.LeaderChanges()
	defer cancel()
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
			select {
			case <-changes:
			case <-stop:
			}
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
		before := benchLeader(b, nodes).Term()
		var load sync.WaitGroup
		stop := make(chan struct{})
		done := make([]int, len(nodes))
		for i, n := range nodes {
			load.Go(func() { done[i] = propose(n, stop) })
		}
		<-time.After(electionRound) // the length of the measurement, no wait for anything
		close(stop)
		load.Wait()
		rounds++
		for _, d := range done {
			commits += float64(d)
		}
		elections += float64(benchLeader(b, nodes).Term() - before)
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
	leader := benchLeader(b, benchCluster(b))
	payload := bytes.Repeat([]byte("x"), 1024)
	for b.Loop() {
		if _, _, err := leader.Propose(context.Background(), toyAppend, payload).Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBarrier measures what a linearizable read costs before the read.
func BenchmarkBarrier(b *testing.B) {
	leader := benchLeader(b, benchCluster(b))
	for b.Loop() {
		if err := leader.Barrier(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
