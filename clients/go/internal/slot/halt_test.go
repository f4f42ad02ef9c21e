package slot

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	suspend = holdfastv1.BarrierThen_BARRIER_THEN_SUSPEND
	drain   = holdfastv1.BarrierThen_BARRIER_THEN_DRAIN
)

// halted is a slot that stands still behind the cut of checkpoint 1, with records b
// and c of its batch unprocessed.
func halted(t *testing.T, then holdfastv1.BarrierThen) (*rig, *faketest.Stream) {
	t.Helper()
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("a")
	defer release()
	r.deliver(100, "a", "b", "c")
	s.Absent(s.Get())
	r.receive("record a", reached)
	s.BarrierThen(5, 1, then)
	r.await("the attention", r.slot.inbox.attention.Load)
	release()
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	ready := s.Ready()
	if ready.GetSeq() != 2 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 101)
	s.Ack(5, 2)
	r.standsAt(s, "a=1\n")
	return r, s
}

// standsAt: nothing more is put out, and nothing is sent.
func (r *rig) standsAt(s *faketest.Stream, output string) {
	r.t.Helper()
	s.Quiet(20 * time.Millisecond)
	if got := r.output(); got != output {
		r.t.Fatalf("output %q behind the cut, want %q", got, output)
	}
}

func TestRule6_8_NothingIsProcessedBehindTheCutUntilTheEnd(t *testing.T) {
	for name, then := range map[string]holdfastv1.BarrierThen{"SUSPEND": suspend, "DRAIN": drain} {
		t.Run(name, func(t *testing.T) {
			r, s := halted(t, then)
			s.Complete(5, 1)
			r.standsAt(s, "a=1\n")
			s.JobEnded(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
			r.wait()
			if got := r.output(); got != "a=1\n" || r.err != nil {
				t.Fatalf("output %q, %v", got, r.err)
			}
		})
	}
}

func TestRule6_8_AnAbortedStopGoesOn(t *testing.T) {
	r, s := halted(t, suspend)
	s.Aborted(5, 1)
	r.awaitOutput("a=1\nb=1\nc=1\n")
	s.Barrier(5, 2)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 3, map[string]int64{"b": 1, "c": 1})
}

// The newest outcome stands for those before it, which the host need not tell.
func TestRule6_8_ALaterOutcomeEndsTheHaltToo(t *testing.T) {
	r, s := halted(t, suspend)
	s.Aborted(5, 2)
	r.awaitOutput("a=1\nb=1\nc=1\n")
}

func TestRule6_8_ANewerBarrierGoesOn(t *testing.T) {
	r, s := halted(t, suspend)
	s.Barrier(5, 2)
	s.BarrierPassed()
	wantPositions(t, s.Ready().GetPositions(), 101)
	r.awaitOutput("a=1\nb=1\nc=1\n")
}

func TestRule6_8_RevokedBehindTheCut(t *testing.T) {
	r, s := halted(t, suspend)
	s.Complete(5, 1)
	s.Revoke(5)
	r.receive("Close of the task", r.closed)
	again := testAssign()
	again.FencingToken, again.Attempt, again.RestoredCheckpointId = 9, 9, 1
	s.Assign(again)
	r.deliver(101, "b")
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
}

func TestRule6_8_AResumeStandsStillToo(t *testing.T) {
	r, s := halted(t, suspend)
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 2, LatestCompletedId: 1})
	r.standsAt(s, "a=1\n")
}

// Between two batches, and with a Get under way, when no record is in hand.
func TestRule6_8_NoBatchIsBegunBehindTheCut(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	g := s.Get()
	s.BarrierThen(5, 1, suspend)
	s.BarrierPassed()
	wantPositions(t, s.Ready().GetPositions(), 100)
	s.Ack(5, 1)
	s.Absent(g)
	r.standsAt(s, "")
	s.Aborted(5, 1)
	r.awaitOutput("a=1\n")
	s.BarrierThen(5, 2, suspend)
	s.BarrierPassed()
	s.Flush()
	s.Ready()
	r.deliver(101, "b")
	r.standsAt(s, "a=1\n")
}

func TestRule6_8_NoFinishedBehindTheCut(t *testing.T) {
	r := newRig(t, nil)
	s := smallWindow(t, r)
	s.Assign(testAssign())
	r.step(step{recs: []rec{{0, 100, "a"}, {0, 101, "b"}}, err: errEOF})
	s.Absent(s.Get())
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	s.BarrierThen(5, 1, suspend)
	s.BarrierPassed()
	s.Ack(5, 1)
	r.wantPuts(s.Flush(), 2, map[string]int64{"b": 1})
	s.Ack(5, 2)
	s.Ready()
	s.Ack(5, 3)
	r.standsAt(s, "a=1\nb=1\n")
	s.Aborted(5, 1)
	if fin := s.Finished(); fin.GetSeq() != 4 {
		t.Fatalf("Finished is %v", fin)
	}
}

func TestRule6_8_AStopOfTheProcessIsNotHeldUp(t *testing.T) {
	r, _ := halted(t, suspend)
	r.cancel()
	r.wait()
}
