package stateserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/await"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

const testPatience = 10 * time.Second

// fakeLink records what is sent on it and answers as told.
type fakeLink struct {
	mu     sync.Mutex
	got    []uint64
	commit func(id uint64, command []byte) // called for each send
	gone   chan struct{}
	once   sync.Once
}

func (l *fakeLink) send(id uint64, command []byte) error {
	select {
	case <-l.gone:
		return fmt.Errorf("link is gone")
	default:
	}
	l.mu.Lock()
	l.got = append(l.got, id)
	l.mu.Unlock()
	if l.commit != nil {
		l.commit(id, command)
	}
	return nil
}

func (l *fakeLink) broken() <-chan struct{} { return l.gone }
func (l *fakeLink) close()                  { l.once.Do(func() { close(l.gone) }) }

func (l *fakeLink) sent() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// fakeLeaders is a cluster whose leader the test chooses.
type fakeLeaders struct {
	mu      sync.Mutex
	name    string
	link    *fakeLink
	changes chan struct{}
	settle  func(uint64, answer)
}

func (c *fakeLeaders) set(name string, l *fakeLink) {
	c.mu.Lock()
	c.name, c.link = name, l
	c.mu.Unlock()
	select {
	case c.changes <- struct{}{}:
	default:
	}
}

func (c *fakeLeaders) leader() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

func (c *fakeLeaders) open(settle func(uint64, answer)) (string, link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle = settle
	if c.link == nil {
		return "", nil
	}
	return c.name, c.link
}

func startForwarder(t *testing.T) (*forwarder, *fakeLeaders) {
	t.Helper()
	c := &fakeLeaders{changes: make(chan struct{}, 1)}
	f := newForwarder(c.leader, c.changes, c.open)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f, c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	await.Until(t, testPatience, what, ok)
}

// What a dead leader never answered goes to the next one, oldest first, and
// before what was submitted later.
func TestForwarder_NewLeaderGetsEverythingOpenInOrder(t *testing.T) {
	f, c := startForwarder(t)
	mute := &fakeLink{gone: make(chan struct{})}
	c.set("a", mute)
	answers := make(chan answer, 10)
	for range 3 {
		f.submit(context.Background(), nil, func(a answer) { answers <- a })
	}
	eventually(t, "the first leader to get all", func() bool { return len(mute.sent()) == 3 })
	next := &fakeLink{gone: make(chan struct{})}
	next.commit = func(id uint64, _ []byte) { go f.settle(id, answer{result: &internalv1.CommandResult{}, index: id}) }
	mute.close()
	c.set("b", next)
	f.submit(context.Background(), nil, func(a answer) { answers <- a })
	for range 4 {
		if a := <-answers; a.err != nil {
			t.Fatal(a.err)
		}
	}
	if got := next.sent(); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Fatalf("the new leader got %v", got)
	}
}

// A leader that is cut off answers nothing and breaks nothing; the change of
// the leader alone must move the proposals on.
func TestForwarder_LeaderChangeWithoutABrokenLink(t *testing.T) {
	f, c := startForwarder(t)
	mute := &fakeLink{gone: make(chan struct{})}
	c.set("a", mute)
	got := make(chan answer, 1)
	f.submit(context.Background(), nil, func(a answer) { got <- a })
	eventually(t, "the old leader to get it", func() bool { return len(mute.sent()) == 1 })
	next := &fakeLink{gone: make(chan struct{})}
	next.commit = func(id uint64, _ []byte) { go f.settle(id, answer{result: &internalv1.CommandResult{}}) }
	c.set("b", next)
	<-got
}

// A gap and an overload leave a proposal open; it goes again until it counts.
func TestForwarder_NotAppliedGoesAgain(t *testing.T) {
	f, c := startForwarder(t)
	l := &fakeLink{gone: make(chan struct{})}
	tries := 0
	l.commit = func(id uint64, _ []byte) {
		tries++
		a := answer{result: &internalv1.CommandResult{}}
		switch tries {
		case 1:
			a.result.Error = coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP, "gap")
		case 2:
			a = answer{err: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED, "overloaded")}
		}
		go f.settle(id, a)
	}
	c.set("a", l)
	got := make(chan answer, 1)
	f.submit(context.Background(), nil, func(a answer) { got <- a })
	if a := <-got; a.err != nil || a.result.Error != nil || len(l.sent()) != 3 {
		t.Fatalf("answer %v after %d tries", a, len(l.sent()))
	}
}

// Without a leader a call ends with its context, with outcome unknown, and is
// forgotten; a late answer changes nothing.
func TestForwarder_ContextEndsAProposalOnce(t *testing.T) {
	f, c := startForwarder(t)
	l := &fakeLink{gone: make(chan struct{})}
	c.set("a", l)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan answer, 2)
	f.submit(ctx, nil, func(a answer) { got <- a })
	eventually(t, "it to be sent", func() bool { return len(l.sent()) == 1 })
	cancel()
	if a := <-got; a.err.GetOutcome() != holdfastv1.Outcome_OUTCOME_UNKNOWN {
		t.Fatalf("answer: %v", a)
	}
	f.settle(1, answer{result: &internalv1.CommandResult{}})
	if len(got) != 0 || f.order.Len() != 0 {
		t.Fatal("a proposal was answered twice or is kept")
	}
}

// stuckLink is a link to a leader that is stopped: a send waits until the link
// is closed.
type stuckLink struct{ fakeLink }

func (l *stuckLink) send(uint64, []byte) error {
	<-l.gone
	return fmt.Errorf("link is gone")
}

// A send that waits for a stopped leader ends when another one leads.
func TestForwarder_StoppedLeaderHoldsNothingBack(t *testing.T) {
	f := newForwarder(nil, make(chan struct{}), nil)
	stuck := &stuckLink{fakeLink{gone: make(chan struct{})}}
	next := &fakeLink{gone: make(chan struct{})}
	next.commit = func(id uint64, _ []byte) { go f.settle(id, answer{result: &internalv1.CommandResult{}}) }
	var leads atomic.Bool
	f.leader = func() string {
		if leads.Load() {
			return "b"
		}
		return "a"
	}
	f.open = func(func(uint64, answer)) (string, link) {
		if leads.Load() {
			return "b", next
		}
		return "a", stuck
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go f.run(ctx)
	got := make(chan answer, 1)
	f.submit(ctx, nil, func(a answer) { got <- a })
	leads.Store(true)
	select {
	case a := <-got:
		if a.err != nil {
			t.Fatal(a.err)
		}
	case <-time.After(testPatience):
		t.Fatal("the proposal waits behind the stopped leader")
	}
}

// A command that no link would carry is refused, and what comes after it goes.
func TestForwarder_TooLargeBlocksNobody(t *testing.T) {
	f, c := startForwarder(t)
	l := &fakeLink{gone: make(chan struct{})}
	l.commit = func(id uint64, _ []byte) { go f.settle(id, answer{result: &internalv1.CommandResult{}}) }
	c.set("a", l)
	got := make(chan answer, 1)
	f.submit(context.Background(), make([]byte, raftstore.MaxPayload+1), func(a answer) { got <- a })
	if a := <-got; a.err.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE || a.err.Outcome != holdfastv1.Outcome_OUTCOME_FINAL {
		t.Fatalf("answer: %v", a)
	}
	f.submit(context.Background(), nil, func(a answer) { got <- a })
	if a := <-got; a.err != nil {
		t.Fatal(a.err)
	}
}

// A failure report is cut between characters, or the log would refuse it.
func TestClip_CutsBetweenCharacters(t *testing.T) {
	long := strings.Repeat("é", 20<<10)
	e := clip(&holdfastv1.Error{Message: long[1:], Metadata: map[string]string{"stack": long[1:], "topic": "in"}})
	if _, err := proto.Marshal(e); err != nil || len(e.Message) > 9<<10 || e.Metadata["topic"] != "in" {
		t.Fatalf("%v, %d bytes, topic %q", err, len(e.Message), e.Metadata["topic"])
	}
}
