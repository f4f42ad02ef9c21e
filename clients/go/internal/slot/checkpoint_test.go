package slot

import (
	"fmt"
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
	// Rule 5.4: CheckpointReady takes room in the window, too.
	s.Quiet(20 * time.Millisecond)
	s.Ack(5, 2)
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
	s.Ack(5, 6)
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
	s.Ack(5, 1)
	for len(got) < 3 {
		f := s.Flush()
		for k, v := range puts(f) {
			if _, twice := got[k]; twice {
				t.Fatalf("%s was flushed twice", k)
			}
			got[k] = v
		}
		s.Ack(5, f.GetSeq())
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
	r.countFirst(s)
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
	r.countFirst(s)
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

func TestRule6_6_WhatASealHeldIsCoalescedAgain(t *testing.T) {
	r, s := sealing(t)
	s.Aborted(5, 1)
	s.Ack(5, 1)
	r.step(step{err: errEOF})
	got := map[string]int64{}
	for seq := uint64(2); seq <= 4; seq++ {
		for k, v := range puts(s.Flush()) {
			got[k] = v
		}
		s.Ack(5, seq)
	}
	if fin := s.Finished(); fin.GetSeq() != 5 || fmt.Sprint(got) != "map[a:2 b:2 c:1]" {
		t.Fatalf("flushed %v, then %v", got, fin)
	}
}

func TestRule6_2_OutputBeforeTheCutLeavesBeforeReady(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	atB, releaseB := r.blockOn("b")
	defer releaseB()
	atC, releaseC := r.blockOn("c")
	defer releaseC()
	r.deliver(100, "a", "b", "c")
	s.Absent(s.Get())
	r.receive("record b", atB)
	s.Barrier(5, 1)
	r.await("the attention", r.slot.inbox.attention.Load)
	releaseB()
	s.BarrierPassed()
	s.Flush()
	s.Ready()
	// The batch is not at its end yet.
	if got := r.output(); got != "a=1\nb=1\n" {
		t.Fatalf("output %q when the cut is ready", got)
	}
	r.receive("record c", atC)
}
