package slot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRule6_1_BarrierInTheMiddleOfABatch(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("b")
	defer release()
	r.deliver(100, "a", "b", "c")
	s.Absent(s.Get())
	r.receive("record b", reached)
	s.Barrier(5, 1)
	r.await("the attention", r.slot.inbox.attention.Load)
	release()
	// After the record in hand, not after the batch.
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1, "b": 1})
	ready := s.Ready()
	if ready.GetSeq() != 2 || ready.GetCheckpointId() != 1 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 102)
	if e := ready.GetPositions()[0].GetLeaderEpoch(); e != 3 {
		t.Fatalf("leader epoch %d, want 3", e)
	}
	r.awaitOutput("a=1\nb=1\nc=1\n")
	s.Barrier(5, 2)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 3, map[string]int64{"c": 1})
	wantPositions(t, s.Ready().GetPositions(), 103)
}

func TestRule6_1_BarrierWhileAGetIsUnderWay(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	g := s.Get()
	// No record is in hand yet, so the cut needs no answer to the Get.
	s.Barrier(5, 1)
	s.BarrierPassed()
	wantPositions(t, s.Ready().GetPositions(), 100)
	s.Absent(g)
	r.awaitOutput("a=1\n")
}

func TestRule6_2_PositionsBehindABatchMayJumpFurther(t *testing.T) {
	a := testAssign()
	a.Splits = append(a.Splits, &holdfastv1.Split{Topic: topic, Partition: 1, StartOffset: new(int64(7))})
	r, s := running(t, a, nil)
	// A compacted topic: offsets 101 to 109 are gone, and 111 to 119 behind it.
	r.step(step{
		recs: []rec{{0, 100, "a"}, {0, 110, "b"}},
		ends: []source.Position{{NextOffset: 120}, {NextOffset: 3}},
	})
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	wantPositions(t, s.Ready().GetPositions(), 120, 7)
}

func TestRule6_2_GapInTheMiddleOfABatch(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("b")
	defer release()
	r.step(step{recs: []rec{{0, 100, "a"}, {0, 110, "b"}, {0, 130, "c"}}, ends: []source.Position{{NextOffset: 140}}})
	s.Absent(s.Get())
	r.receive("record b", reached)
	s.Barrier(5, 1)
	r.await("the attention", r.slot.inbox.attention.Load)
	release()
	s.BarrierPassed()
	s.Flush()
	wantPositions(t, s.Ready().GetPositions(), 111)
}

// smallWindow lets one flush of one key be under way.
func smallWindow(t *testing.T, r *rig) *faketest.Stream {
	t.Helper()
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{FlushBytes: 9, FlushesInFlight: 1}})
	return s
}

// sealing is a slot with an unfinished seal of checkpoint 1: a is flushed and
// not acknowledged, b waits, and both have changed since.
func sealing(t *testing.T) (*rig, *faketest.Stream) {
	t.Helper()
	r := newRig(t, nil)
	s := smallWindow(t, r)
	s.Assign(testAssign())
	r.deliver(100, "a", "b")
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
	s.Barrier(5, 1)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	r.deliver(102, "a", "b", "c")
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\na=2\nb=2\nc=1\n")
	return r, s
}

func TestRule6_2_NothingNewerBeforeReady(t *testing.T) {
	r, s := sealing(t)
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 1)
	// The value of the seal, although there is a newer one.
	r.wantPuts(s.Flush(), 2, map[string]int64{"b": 1})
	ready := s.Ready()
	if ready.GetSeq() != 3 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 102)
	s.Ack(5, 3)
	s.Barrier(5, 2)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 4, map[string]int64{"a": 2})
	s.Ack(5, 4)
	r.wantPuts(s.Flush(), 5, map[string]int64{"b": 2})
	s.Ack(5, 5)
	r.wantPuts(s.Flush(), 6, map[string]int64{"c": 1})
	if ready := s.Ready(); ready.GetSeq() != 7 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
}

func TestRule6_3_ReadyIsAcknowledgedLikeAFlush(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	s.Barrier(5, 1)
	s.BarrierPassed()
	if ready := s.Ready(); ready.GetSeq() != 1 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	s.Aborted(5, 1)
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 0})
	// Not acknowledged, so it comes again, decided or not.
	if ready := s.Ready(); ready.GetSeq() != 1 || ready.GetFencingToken() != 9 || ready.GetCheckpointId() != 1 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	s.Ack(9, 1)
	s.Barrier(9, 2)
	s.BarrierPassed()
	if ready := s.Ready(); ready.GetSeq() != 2 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
}

func TestRule6_4_OldBarriersAreIgnored(t *testing.T) {
	_, s := running(t, testAssign(), nil)
	s.Barrier(5, 2)
	s.BarrierPassed()
	s.Ready()
	s.Barrier(5, 2)
	s.Barrier(5, 1)
	s.Quiet(20 * time.Millisecond)
	s.Barrier(5, 3)
	s.BarrierPassed()
	if ready := s.Ready(); ready.GetCheckpointId() != 3 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
}

func TestRule6_5_ANewerBarrierReplacesAnUnfinishedSeal(t *testing.T) {
	r, s := sealing(t)
	s.Barrier(5, 2)
	if b := s.BarrierPassed(); b.GetCheckpointId() != 2 {
		t.Fatalf("BarrierPassed is %v", b)
	}
	// a went out with seq 1 and changed since; b never did; all is sealed anew.
	got := map[string]int64{}
	for seq := uint64(1); len(got) < 3; seq++ {
		s.Ack(5, seq)
		for k, v := range puts(s.Flush()) {
			if _, twice := got[k]; twice {
				t.Fatalf("%s was flushed twice", k)
			}
			got[k] = v
		}
	}
	if fmt.Sprint(got) != "map[a:2 b:2 c:1]" {
		t.Fatalf("flushed %v", got)
	}
	ready := s.Ready()
	if ready.GetCheckpointId() != 2 || ready.GetSeq() != 5 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 105)
	_ = r
}

func TestRule6_6_AbortedDissolvesAnUnfinishedSeal(t *testing.T) {
	r, s := sealing(t)
	s.Aborted(5, 7) // another one: nothing happens
	s.Aborted(5, 1)
	s.Ack(5, 1)
	// What it held is ordinary dirty state: nothing is due, no Ready comes.
	s.Quiet(20 * time.Millisecond)
	s.Barrier(5, 2)
	s.BarrierPassed()
	got := map[string]int64{}
	for seq := uint64(2); len(got) < 3; seq++ {
		f := s.Flush()
		for k, v := range puts(f) {
			got[k] = v
		}
		s.Ack(5, f.GetSeq())
	}
	if fmt.Sprint(got) != "map[a:2 b:2 c:1]" {
		t.Fatalf("flushed %v", got)
	}
	if ready := s.Ready(); ready.GetCheckpointId() != 2 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	_ = r
}

func TestRule6_7_OffsetsAreCommittedAfterCompleteOnly(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	for n := uint64(1); n <= 2; n++ {
		s.Barrier(5, n)
		s.BarrierPassed()
		if n == 1 {
			s.Flush()
			s.Ready()
			s.Aborted(5, 1)
			r.deliver(101, "a")
			r.awaitOutput("a=1\na=2\n")
			continue
		}
		s.Flush()
		s.Ready()
	}
	s.Quiet(20 * time.Millisecond)
	if len(r.src.committed) > 0 {
		t.Fatal("offsets were committed before a checkpoint was decided")
	}
	s.Complete(5, 2)
	select {
	case p := <-r.src.committed:
		if p[0].NextOffset != 102 {
			t.Fatalf("committed %v", p)
		}
	case <-time.After(faketest.Patience):
		t.Fatal("nothing was committed")
	}
}

func TestRule6_7_ResumeTellsOfDecidedCheckpoints(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	s.Ready()
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 2, LatestCompletedId: 1})
	select {
	case p := <-r.src.committed:
		if p[0].NextOffset != 101 {
			t.Fatalf("committed %v", p)
		}
	case <-time.After(faketest.Patience):
		t.Fatal("nothing was committed")
	}
}

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
	if ready := s.Ready(); ready.GetSeq() != 3 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
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

func TestRule5_8_ResultsOfASlowBatchAreNotHeldBack(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.hooks["slow"] = func() error { time.Sleep(2 * slowBatch); return nil }
	reached, release := r.blockOn("stuck")
	defer release()
	r.deliver(100, "slow", "a", "stuck")
	s.Absent(s.Get())
	r.receive("the last record", reached)
	r.await("the first result", func() bool { return strings.HasPrefix(r.output(), "slow=1\n") })
}
