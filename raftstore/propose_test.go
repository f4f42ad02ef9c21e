package raftstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestPropose_KeepsOrder(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	ctx := t.Context()
	var futures []Future
	var want []string
	for i := range 2000 {
		item := fmt.Sprintf("%05d", i)
		want = append(want, item)
		futures = append(futures, tn.Propose(ctx, toyAppend, []byte(item)))
	}
	last := uint64(0)
	for i, f := range futures {
		_, index, err := f.Wait(ctx)
		if err != nil || index <= last {
			t.Fatalf("proposal %d: index %d after %d, %v", i, index, last, err)
		}
		last = index
	}
	if !slices.Equal(tn.sm.list(), want) {
		t.Fatal("applied in another order")
	}
}

func TestPropose_QueueIsBounded(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxPending = 8
	tn := newTestNode(t, cfg)
	tn.mustStart()
	waitLeader(t, tn)
	gate := make(chan struct{})
	tn.sm.mu.Lock()
	tn.sm.gate = gate
	tn.sm.mu.Unlock()
	ctx := t.Context()
	var futures []Future
	for range cfg.MaxPending {
		futures = append(futures, tn.Propose(ctx, toyAppend, []byte("x")))
	}
	_, _, err := tn.Propose(ctx, toyAppend, []byte("y")).Wait(ctx)
	if !errors.Is(err, ErrOverloaded) || Outcome(err) != NotApplied {
		t.Errorf("one too many: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, _, err := futures[0].Wait(short); !errors.Is(err, ErrTimeout) || Outcome(err) != Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait that is too short: %v", err)
	}
	close(gate)
	for _, f := range futures {
		if _, _, err := f.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "room in the queue", func() bool { return tn.Stats().Pending == 0 && tn.Stats().PendingBytes == 0 })
	mustAppend(t, "z", tn)
}

func TestPropose_BytesAreBounded(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxPendingBytes = 1000
	tn := newTestNode(t, cfg)
	tn.mustStart()
	waitLeader(t, tn)
	if _, _, err := tn.Propose(t.Context(), toyAppend, make([]byte, 2000)).Wait(t.Context()); !errors.Is(err, ErrOverloaded) {
		t.Fatalf("Wait: %v", err)
	}
	mustAppend(t, "z", tn)
}

func TestPropose_RefusedBeforeTheLog(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	ctx := t.Context()
	for _, tn := range c.without(leader) {
		if _, _, err := tn.Propose(ctx, toyAppend, nil).Wait(ctx); !errors.Is(err, ErrNotLeader) || Outcome(err) != NotApplied {
			t.Errorf("on a follower: %v", err)
		}
	}
	last := leader.Stats().LastIndex
	if _, _, err := leader.Propose(ctx, toyAppend, make([]byte, MaxPayload+1)).Wait(ctx); !errors.Is(err, ErrCommandTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, _, err := leader.Propose(ctx, 0, nil).Wait(ctx); !errors.Is(err, ErrInvalidCommand) {
		t.Errorf("type zero: %v", err)
	}
	if got := leader.Stats().LastIndex; got != last {
		t.Errorf("the log grew from %d to %d", last, got)
	}
}

func TestPropose_LeadershipLostIsUnknown(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	for _, tn := range c.without(leader) {
		tn.Kill()
	}
	_, _, err := leader.Propose(t.Context(), toyAppend, []byte("x")).Wait(t.Context())
	switch {
	case errors.Is(err, ErrLeadershipLost) && Outcome(err) == Unknown:
	case errors.Is(err, ErrNotLeader) && Outcome(err) == NotApplied:
		t.Log("the leader stepped down before it took the proposal")
	default:
		t.Fatalf("Wait: %v (%v)", err, Outcome(err))
	}
}

func TestPropose_KillEndsOpenProposals(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	gate := make(chan struct{})
	tn.sm.mu.Lock()
	tn.sm.gate = gate
	tn.sm.mu.Unlock()
	f := tn.Propose(t.Context(), toyAppend, []byte("x"))
	stopped := make(chan struct{})
	go func() { tn.Kill(); close(stopped) }()
	close(gate)
	_, _, err := f.Wait(t.Context())
	<-stopped
	// It is not applied if it was still in the queue, unknown otherwise.
	if applied := len(tn.sm.list()) > 0; applied && Outcome(err) == NotApplied || !applied && err == nil {
		t.Fatalf("Wait: %v (%v), applied: %t", err, Outcome(err), applied)
	}
}

// stuckFuture is an entry that Raft took and never answers.
type stuckFuture struct{ never chan struct{} }

func (f stuckFuture) Error() error  { <-f.never; return nil }
func (f stuckFuture) Response() any { return nil }
func (f stuckFuture) Index() uint64 { return 0 }

func TestProposer_QueuedIsNotAppliedWhenItsContextEnds(t *testing.T) {
	cfg := DefaultConfig()
	entered, release := make(chan struct{}), make(chan struct{})
	q := newProposer(cfg, newMetrics(), func([]byte) raft.ApplyFuture {
		entered <- struct{}{}
		<-release
		return stuckFuture{never: release}
	})
	first := newProposal(t.Context(), []byte("first"))
	q.submit(first)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := newProposal(ctx, []byte("second"))
	q.submit(second)
	cancel()
	close(release)
	_, _, err := second.Wait(t.Context())
	if Outcome(err) != NotApplied || !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait: %v (%v)", err, Outcome(err))
	}
	q.drain(t.Context())
	q.abandon()
}

func TestProposer_AbandonIsUnknown(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	entered := make(chan struct{})
	q := newProposer(DefaultConfig(), newMetrics(), func([]byte) raft.ApplyFuture { close(entered); return stuckFuture{never: never} })
	p := newProposal(t.Context(), []byte("x"))
	q.submit(p)
	<-entered
	q.abandon()
	if _, _, err := p.Wait(t.Context()); !errors.Is(err, ErrShutdown) || Outcome(err) != Unknown {
		t.Errorf("open: %v (%v)", err, Outcome(err))
	}
	late := newProposal(t.Context(), []byte("y"))
	q.submit(late)
	if _, _, err := late.Wait(t.Context()); !errors.Is(err, ErrShutdown) || Outcome(err) != NotApplied {
		t.Errorf("late: %v (%v)", err, Outcome(err))
	}
}

func TestOutcome_Classes(t *testing.T) {
	for err, want := range map[error]Class{
		nil:                           Final,
		ErrNotLeader:                  NotApplied,
		ErrCommandTooLarge:            NotApplied,
		ErrInvalidCommand:             NotApplied,
		ErrOverloaded:                 NotApplied,
		ErrLeadershipLost:             Unknown,
		ErrTimeout:                    Unknown,
		ErrAborted:                    Unknown,
		ErrHalted:                     Unknown,
		ErrShutdown:                   Unknown,
		context.Canceled:              Unknown,
		applyError(raft.ErrNotLeader): NotApplied,
		applyError(raft.ErrLeadershipTransferInProgress): NotApplied,
		applyError(raft.ErrLeadershipLost):               Unknown,
		applyError(raft.ErrRaftShutdown):                 Unknown,
		applyError(errors.New("disk")):                   Unknown,
	} {
		if got := Outcome(err); got != want {
			t.Errorf("Outcome(%v) = %v, want %v", err, got, want)
		}
	}
}
