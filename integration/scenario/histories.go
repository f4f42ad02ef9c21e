package scenario

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/history"
)

// Histories records what clients of every node ask and are told while a leader
// dies, loses its followers, is split off from them or a follower is cut off, and checks that one order of the log
// explains all of it: reads of state and of jobs are never stale, a request
// that was answered is never taken back, and one that was not is applied once
// or never (invariants 1, 3 and 6). Each history is one job of each kind and
// one fault. The cluster must be proxied.
func Histories(t *testing.T, c *harness.Cluster, n int, seed uint64) {
	runHistories(t, c, n, seed, func(*histories) {}, (*histories).fault)
}

// runHistories records and checks histories of faults.
func runHistories(t *testing.T, c *harness.Cluster, n int, seed uint64, prepare, fault func(*histories)) {
	t.Helper()
	t.Logf("seed %d (HOLDFAST_TEST_SEED)", seed)
	var operations, open, checked int
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			h := newHistories(t, c.For(t), i, rand.New(rand.NewPCG(seed, uint64(i))))
			prepare(h)
			h.run(fault)
			a, b := h.check()
			operations, open, checked = operations+a, open+b, checked+1
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d histories are linearizable: %d operations, %d of them without an answer", checked, operations, open)
}

// histories are those of one fault.
type histories struct {
	t      *testing.T
	c      *harness.Cluster
	number int
	rnd    *rand.Rand

	sums, jobs, triggers *history.Recorder
	adder, triggered     *harness.Flusher
	job                  string
	host                 int // of the adder's stream, while it can

	clients sync.WaitGroup
	stop    chan struct{}
	lastID  atomic.Int64

	// cutOff is the index of a node that reaches no majority, and one more; 0: all do.
	cutOff atomic.Int64

	mu        sync.Mutex
	unsettled map[string]bool // requests to trigger a checkpoint without an id
}

func newHistories(t *testing.T, c *harness.Cluster, number int, rnd *rand.Rand) *histories {
	return &histories{
		t: t, c: c, number: number, rnd: rnd, stop: make(chan struct{}),
		sums: history.NewRecorder(), jobs: history.NewRecorder(), triggers: history.NewRecorder(),
		job: fmt.Sprintf("job-%d", number), host: rnd.IntN(c.Size()), unsettled: map[string]bool{},
	}
}

func (h *histories) run(fault func(*histories)) {
	h.adder = harness.StartFlusher(h.c, harness.FlusherConfig{
		Job: fmt.Sprintf("sums-%d", h.number), Keys: 3, Ops: 1, Window: 3, Pause: 8 * time.Millisecond,
		Addresses: func(int) []string { return h.c.Addresses(h.host) }, Observe: newSumsObserver(h.sums),
	})
	// Its checkpoints are begun by hand only.
	h.triggered = harness.StartFlusher(h.c, harness.FlusherConfig{
		Job: fmt.Sprintf("triggers-%d", h.number), Keys: 1, Ops: 1, Window: 1, Pause: 10 * time.Millisecond,
		CheckpointMs: uint64(time.Hour.Milliseconds()),
	})
	for i := range h.c.Size() {
		h.client(i, h.readSums)
		h.client(i, h.administer)
		h.client(i, h.trigger)
	}
	h.adder.WaitAcked(20)
	fault(h)
	h.c.WaitForAllToKnow()
	h.adder.WaitAcked(10)
	close(h.stop)
	h.clients.Wait()
	h.settleTriggers()
	h.adder.Close()
	h.triggered.Close()
	for _, job := range []string{h.adder.JobID, h.triggered.JobID} {
		if err := h.c.Cancel(job); err != nil {
			h.t.Errorf("cancel %s: %v", job, err)
		}
	}
}

// fault does something to the cluster and undoes it.
func (h *histories) fault() {
	c := h.c
	old := c.Leader()
	follower := c.Followers()[h.rnd.IntN(c.Size()-1)]
	var what string
	switch h.rnd.IntN(7) {
	case 0, 1:
		what = "leader killed"
		c.Kill(old.Index)
		c.WaitForNewLeader(old)
		h.adder.WaitAcked(5)
		c.Start(old.Index)
	case 2, 3:
		what = "leader without followers"
		h.loseFollowers(old)
	case 4, 5:
		what = "leader split off"
		h.splitOff(old, func(harness.Leadership) {})
	default:
		what = "follower cut off"
		c.Deafen(follower)
		h.adder.WaitAcked(20)
		c.Hear(follower)
	}
	h.t.Logf("%s; leader was %s, a follower %s", what, old.Name, c.Node(follower).Name)
}

// loseFollowers cuts the leader off until it no longer says that it leads, with
// calls and frames on it that it cannot decide.
func (h *histories) loseFollowers(old harness.Leadership) {
	followers := h.c.Followers()
	for _, i := range followers {
		h.c.Deafen(i)
	}
	harness.Until(h.t, "the leader to step down", func() error {
		if l, err := h.c.LeaderNow(); err == nil && l.Term == old.Term {
			return fmt.Errorf("%s still says that it leads", l.Name)
		}
		return nil
	})
	for _, i := range followers {
		h.c.Hear(i)
	}
	h.c.WaitForNewLeader(old)
}

func (h *histories) check() (operations, open int) {
	for _, p := range []struct {
		name string
		r    *history.Recorder
		of   func(*history.Recorder) (int, int)
	}{
		{"sums", h.sums, func(r *history.Recorder) (int, int) { return r.Check(h.t, "sums", history.Sums) }},
		{"jobs", h.jobs, func(r *history.Recorder) (int, int) { return r.Check(h.t, "jobs", history.Jobs) }},
		{"triggers", h.triggers, func(r *history.Recorder) (int, int) { return r.Check(h.t, "triggers", history.Triggers) }},
	} {
		a, b := p.of(p.r)
		h.t.Logf("%s: %d operations, %d of them without an answer", p.name, a, b)
		operations, open = operations+a, open+b
	}
	return operations, open
}

// client runs operations, one after the other, until the history ends. They
// come at random times, from a source of their own.
func (h *histories) client(i int, operate func(client int, rnd *rand.Rand)) {
	rnd := rand.New(rand.NewPCG(h.rnd.Uint64(), 0))
	h.clients.Go(func() {
		for {
			operate(i, rnd)
			select {
			case <-h.stop:
				return
			case <-time.After(time.Duration(2+rnd.IntN(10)) * time.Millisecond):
			}
		}
	})
}

// sumsObserver records a flusher's flushes. Its Gets are not here: a Get on a
// stream shows what was acknowledged to that stream (rule 5.5), and others may
// have read further; the flusher compares them with these bounds itself. It is
// called under the slot's lock.
type sumsObserver struct {
	r    *history.Recorder
	adds map[int64][]*history.Call
}

// flusherWindow are clients of the picture, after those of the nodes: the window
// is as many, one flush after the other each.
const flusherWindow = 10

func newSumsObserver(r *history.Recorder) *sumsObserver {
	return &sumsObserver{r: r, adds: map[int64][]*history.Call{}}
}

func (o *sumsObserver) Sent(flush int64, adds map[string]int64) {
	for key, delta := range adds {
		o.adds[flush] = append(o.adds[flush], o.r.Begin(flusherWindow+int(flush%3), history.Add{Key: key, Delta: delta}))
	}
}

func (o *sumsObserver) Acked(flush int64) {
	for _, c := range o.adds[flush] {
		c.Return(true)
	}
	delete(o.adds, flush)
}
