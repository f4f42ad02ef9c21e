package slot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRule5_8_OutputWaitsForTheFlushAck(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	r, s := running(t, a, nil)
	r.deliver(100, "a", "b", "a")
	s.Absent(s.Get())
	// Rule 5.4: changes of a key are coalesced.
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 2, "b": 1})
	r.deliver(103, "a")
	r.wantPuts(s.Flush(), 2, map[string]int64{"a": 3})
	s.Quiet(20 * time.Millisecond)
	if r.output() != "" {
		t.Fatalf("output %q before the acknowledgement", r.output())
	}
	s.Ack(5, 1)
	r.awaitOutput("a=1\nb=1\na=2\n")
	s.Ack(5, 2)
	r.awaitOutput("a=1\nb=1\na=2\na=3\n")
}

func TestRule5_8_TheOldestChangeIsFlushedInTime(t *testing.T) {
	r, s := running(t, testAssign(), func(c *Config) { c.FlushDelay = 30 * time.Millisecond })
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	s.Ack(5, 1)
	r.deliver(101, "a")
	r.wantPuts(s.Flush(), 2, map[string]int64{"a": 2})
}

func TestRule5_8_DirtyBytesAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DirtyBytes = 18 })
	s := smallWindow(t, r)
	s.Assign(testAssign())
	r.deliver(100, "a", "b", "c", "d")
	s.Absent(s.Get())
	// Two changes are the bound: c is not processed before one of them has left.
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 1)
	r.wantPuts(s.Flush(), 2, map[string]int64{"b": 1})
	s.Ack(5, 2)
	s.Flush()
	s.Ack(5, 3)
	r.awaitOutput("a=1\nb=1\nc=1\nd=1\n")
}

func TestRule5_4_TheWindowBoundsWhatIsUnacknowledged(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	r := newRig(t, nil)
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{FlushBytes: 30, FlushesInFlight: 3, FlushBytesInFlight: 64}})
	s.Assign(a)
	r.deliver(100, "a", "b", "c", "d", "e", "f", "g")
	s.Absent(s.Get())
	// Two of 30 bytes are in the window of 64.
	for seq := uint64(1); seq <= 2; seq++ {
		if f := s.Flush(); f.GetSeq() != seq || len(faketest.Ops(f)) != 2 {
			t.Fatalf("flush is %v", f)
		}
	}
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 1)
	s.Flush()
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 3)
	if f := s.Flush(); f.GetSeq() != 4 || len(faketest.Ops(f)) != 1 {
		t.Fatalf("flush is %v", f)
	}
	if r.output() != "" {
		t.Fatalf("output %q before all of its flushes were acknowledged", r.output())
	}
	s.Ack(5, 4)
	r.await("the output", func() bool { return strings.Count(r.output(), "\n") == 7 })
}

// outlast works for longer than d, until the slot asks for attention.
func (r *rig) outlast(d time.Duration) error {
	deadline := time.NewTimer(faketest.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < d || !r.slot.inbox.attention.Load(); {
		select {
		case <-tick.C:
		case <-deadline.C:
			return errors.New("nobody asked for attention")
		}
	}
	return nil
}

// The wait for values may outlast the timer that calls for a slow batch's results.
func TestRule5_8_ResultsAreNotHeldBackAfterALongGet(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.hooks["slow"] = func() error { return r.outlast(slowBatch) }
	reached, release := r.blockOn("stuck")
	defer release()
	r.deliver(100, "slow", "a", "stuck")
	g := s.Get()
	s.Quiet(2 * slowBatch)
	s.Absent(g)
	r.receive("the last record", reached)
	r.await("the first result", func() bool { return strings.HasPrefix(r.output(), "slow=1\n") })
}

func TestRule5_8_ResultsOfASlowBatchAreNotHeldBack(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.hooks["slow"] = func() error { return r.outlast(slowBatch) }
	reached, release := r.blockOn("stuck")
	defer release()
	r.deliver(100, "slow", "a", "stuck")
	s.Absent(s.Get())
	r.receive("the last record", reached)
	r.await("the first result", func() bool { return strings.HasPrefix(r.output(), "slow=1\n") })
}
