package slot

import (
	"testing"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRule8_2_FinishedFollowsTheLastFlush(t *testing.T) {
	for name, checkpoints := range map[string]bool{"with checkpoints": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			a := testAssign()
			a.CheckpointsEnabled = checkpoints
			r, s := running(t, a, nil)
			r.step(step{recs: []rec{{0, 100, "a"}, {0, 101, "a"}}, err: errEOF})
			s.Absent(s.Get())
			f := s.Flush()
			r.wantPuts(f, 1, map[string]int64{"a": 2})
			s.Ack(5, 1)
			fin := s.Finished()
			if fin.GetSeq() != 2 || fin.GetFencingToken() != 5 {
				t.Fatalf("Finished is %v", fin)
			}
			wantPositions(t, fin.GetPositions(), 102)
			s.Ack(5, 2)
			r.receive("Close of the task", r.closed)
			r.awaitOutput("a=1\na=2\n")
			s.JobEnded(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
			r.wait()
			if r.err != nil || r.ended.GetStatus() != holdfastv1.JobStatus_JOB_STATUS_FINISHED {
				t.Fatalf("Run returned %v, %v", r.ended, r.err)
			}
		})
	}
}

func TestRule8_2_BarrierBeforeFinishedIsAnswered(t *testing.T) {
	r := newRig(t, nil)
	s := smallWindow(t, r)
	s.Assign(testAssign())
	r.step(step{recs: []rec{{0, 100, "a"}, {0, 101, "b"}}, err: errEOF})
	s.Absent(s.Get())
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Ack(5, 1)
	r.wantPuts(s.Flush(), 2, map[string]int64{"b": 1})
	s.Ack(5, 2)
	if ready := s.Ready(); ready.GetSeq() != 3 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	s.Ack(5, 3)
	if fin := s.Finished(); fin.GetSeq() != 4 {
		t.Fatalf("Finished is %v", fin)
	}
}

func TestRule8_2_FinishedIsSentAgainAfterAResume(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.step(step{err: errEOF})
	s.Finished()
	s.Break()
	s = r.host.AcceptWelcome()
	if got := s.Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	if fin := s.Finished(); fin.GetSeq() != 1 || fin.GetFencingToken() != 9 {
		t.Fatalf("Finished is %v", fin)
	}
	s.Ack(9, 1)
	r.receive("Close of the task", r.closed)
	s.Break()
	if s := r.host.AcceptWelcome(); s.Hello.GetResume() != nil {
		t.Fatal("a finished attempt was resumed")
	}
}

func TestRule8_2_FinishedWaitsUntilTheOutputIsReleased(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	r, s := running(t, a, nil)
	r.step(step{recs: []rec{{0, 100, "a"}}, err: errEOF})
	s.Absent(s.Get())
	s.Flush()
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 1)
	s.Finished()
	if got := r.output(); got != "a=1\n" {
		t.Fatalf("output %q when Finished was sent", got)
	}
}

func TestRule8_2_BarrierAfterFinishedIsIgnored(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.step(step{err: errEOF})
	s.Finished()
	s.Barrier(5, 1)
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 1)
	r.receive("Close of the task", r.closed)
}

func TestRule4_2_ASubtaskWithoutSplits(t *testing.T) {
	a := testAssign()
	a.Splits = nil
	r, s := running(t, a, nil)
	s.Barrier(5, 1)
	s.BarrierPassed()
	if ready := s.Ready(); len(ready.GetPositions()) != 0 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	s.Ack(5, 1)
	r.step(step{err: errEOF})
	if fin := s.Finished(); len(fin.GetPositions()) != 0 {
		t.Fatalf("Finished is %v", fin)
	}
}
