package slot

import (
	"errors"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fakeSink is safe, full or broken as a test says.
type fakeSink struct {
	mu     sync.Mutex
	notify func()
	marks  uint64
	safe   uint64
	full   bool
	err    error
}

func (f *fakeSink) Mark() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marks++
	return f.marks
}

func (f *fakeSink) Safe() (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.safe, f.err
}

func (f *fakeSink) Full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full
}

func (f *fakeSink) marked() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.marks
}

// set changes the sink and tells the attempt.
func (f *fakeSink) set(change func(*fakeSink)) {
	f.mu.Lock()
	change(f)
	notify := f.notify
	f.mu.Unlock()
	if notify != nil {
		notify()
	}
}

// withSink is running with a sink that checkpoints wait for, or not.
func withSink(t *testing.T, a *holdfastv1.Assign, waits bool) (*rig, *fakeSink, *faketest.Stream) {
	t.Helper()
	sink := &fakeSink{}
	r, s := runningWith(t, a, func(x *rig) { x.sink, x.waits = sink, waits })
	return r, sink, s
}

func TestRule6_2_ReadyWaitsForTheSink(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), true)
	r.countFirst(s)
	s.Barrier(5, 1)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	// Records go on, and no Ready comes before their Get: the next message is that.
	r.deliver(101, "b")
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
	sink.set(func(f *fakeSink) { f.safe = 1 })
	ready := s.Ready()
	if ready.GetSeq() != 2 || ready.GetCheckpointId() != 1 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 101)
}

func TestRule6_5_ANewerBarrierWaitsForItsOwnOutput(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), true)
	r.countFirst(s)
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	s.Barrier(5, 2)
	s.BarrierPassed()
	sink.set(func(f *fakeSink) { f.safe = 1 })
	r.deliver(101, "b")
	s.Absent(s.Get())
	sink.set(func(f *fakeSink) { f.safe = 2 })
	if ready := s.Ready(); ready.GetCheckpointId() != 2 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
}

func TestRule6_2_WithoutAGuaranteeReadyWaitsForNothing(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), false)
	r.countFirst(s)
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	s.Ready()
	if n := sink.marked(); n != 0 {
		t.Errorf("the sink was marked %d times", n)
	}
}

func TestRule8_1_ASinkThatFailedEndsTheAttempt(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), true)
	r.countFirst(s)
	sink.set(func(f *fakeSink) { f.err = errors.New("the topic is gone") })
	f := s.Failed()
	if f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL || f.GetError().GetMessage() != "the topic is gone" {
		t.Fatalf("Failed is %v", f)
	}
}

func TestSink_ThatIsFullHoldsBatchesBack(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), true)
	r.countFirst(s)
	sink.set(func(f *fakeSink) { f.full = true })
	r.deliver(101, "b")
	// Barriers are answered all the same, at the position before the batch.
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	sink.set(func(f *fakeSink) { f.safe = 1 })
	wantPositions(t, s.Ready().GetPositions(), 101)
	sink.set(func(f *fakeSink) { f.full = false })
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
}

func TestRule8_2_FinishedWaitsForEverySink(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), false)
	r.step(step{recs: []rec{{0, 100, "a"}}, err: errEOF})
	s.Absent(s.Get())
	f := s.Flush()
	s.Ack(5, f.GetSeq())
	r.await("the mark", func() bool { return sink.marked() == 1 })
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Ready() // Finished has not come before it
	s.Ack(5, 2)
	sink.set(func(f *fakeSink) { f.safe = 1 })
	if seq := s.Finished().GetSeq(); seq != 3 {
		t.Fatalf("Finished has seq %d", seq)
	}
}

func TestRule6_8_TheLastCheckpointWaitsForEverySink(t *testing.T) {
	r, sink, s := withSink(t, testAssign(), false)
	r.countFirst(s)
	s.BarrierThen(5, 1, holdfastv1.BarrierThen_BARRIER_THEN_SUSPEND)
	s.BarrierPassed()
	s.Flush()
	// Another barrier is answered before any Ready of the first: that one has not come.
	s.Barrier(5, 2)
	s.BarrierPassed()
	s.Ready()
	if n := sink.marked(); n != 1 {
		t.Errorf("the sink was marked %d times", n)
	}
}
