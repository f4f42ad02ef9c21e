package slot

import (
	"strings"
	"testing"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// wantSeen compares the operator state of a frame.
func wantSeen(t *testing.T, states []*holdfastv1.OperatorState, want int64) {
	t.Helper()
	if len(states) != 1 || states[0].GetOperatorUid() != "counter" || states[0].GetStateName() != "seen" {
		t.Fatalf("the operator state is %v", states)
	}
	if got := number(string(states[0].GetContent())); got != want {
		t.Fatalf("the operator state counts %d records, want %d", got, want)
	}
}

func TestRule6_9_OperatorStateIsThatOfTheBarrier(t *testing.T) {
	_, s := sealing(t) // two records before the cut, three behind it
	s.Ack(5, 1)
	s.Flush()
	s.Ack(5, 2)
	wantSeen(t, s.Ready().GetOperatorStates(), 2)
	s.Ack(5, 3)
	s.Barrier(5, 2)
	s.BarrierPassed()
	for seq := range uint64(3) {
		s.Flush()
		s.Ack(5, 4+seq)
	}
	wantSeen(t, s.Ready().GetOperatorStates(), 5)
}

func TestRule6_9_ReplacedSealTakesItAnew(t *testing.T) {
	_, s := sealing(t)
	s.Barrier(5, 2)
	s.BarrierPassed()
	s.Ack(5, 1)
	for seq := range uint64(3) {
		s.Flush()
		s.Ack(5, 2+seq)
	}
	ready := s.Ready()
	if ready.GetCheckpointId() != 2 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantSeen(t, ready.GetOperatorStates(), 5)
}

func TestRule6_9_ItComesAgainAfterAResume(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.countFirst(s)
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	wantSeen(t, s.Ready().GetOperatorStates(), 1)
	s.Break()
	s = r.host.AcceptWelcome()
	r.deliver(101, "b")
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 1})
	wantSeen(t, s.Ready().GetOperatorStates(), 1)
}

func TestRule6_10_WhatCannotBeTakenIsDeclined(t *testing.T) {
	for name, c := range map[string]struct {
		limit  uint32
		hook   func() error
		reason holdfastv1.ErrorReason
		text   string
	}{
		"too large": {4, nil, holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, "has 8 bytes, at most 4 are allowed"},
		"user code": {0, func() error { return errTest }, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, errTest.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			s := r.host.Accept()
			s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{OperatorStateBytes: c.limit}})
			s.Assign(testAssign())
			r.mu.Lock()
			r.hooks["snapshot"] = c.hook
			r.mu.Unlock()
			s.Barrier(5, 1)
			s.BarrierPassed()
			ready := s.Ready()
			if e := ready.GetDeclined(); e.GetReason() != c.reason || !strings.Contains(e.GetMessage(), c.text) || len(ready.GetOperatorStates()) != 0 {
				t.Fatalf("CheckpointReady is %v", ready)
			}
			s.Aborted(5, 1)
			r.deliver(100, "a")
			s.Absent(s.Get())
			r.awaitOutput("a=1\n")
		})
	}
}

func TestRule8_2_FinishedHasTheOperatorState(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.step(step{recs: []rec{{0, 100, "a"}, {0, 101, "a"}}, err: errEOF})
	s.Absent(s.Get())
	s.Flush()
	s.Ack(5, 1)
	wantSeen(t, s.Finished().GetOperatorStates(), 2)
}

func TestRule8_2_FinishedWithTooMuchFails(t *testing.T) {
	r := newRig(t, nil)
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{OperatorStateBytes: 4}})
	s.Assign(testAssign())
	r.step(step{err: errEOF})
	if f := s.Failed(); f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE || f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_USER {
		t.Fatalf("Failed is %v", f)
	}
}

func piece(content string) *holdfastv1.OperatorState {
	return &holdfastv1.OperatorState{OperatorUid: "counter", StateName: "seen", Content: []byte(content)}
}

func TestRule4_6_AnAttemptBeginsWithItsOperatorState(t *testing.T) {
	a := testAssign()
	a.OperatorStateMessages = 3
	r, s := running(t, a, nil)
	whole := encoded(40)
	s.Restored(5, piece(whole[:3]))
	s.Restored(4, piece("of an older assignment"))
	s.Restored(5)
	select {
	case <-r.src.opened:
		t.Fatal("the attempt began before all of its operator state was there")
	case <-time.After(20 * time.Millisecond):
	}
	s.Restored(5, &holdfastv1.OperatorState{OperatorUid: "other", StateName: "seen", Content: []byte("x")}, piece(whole[3:]))
	r.countFirst(s)
	s.Barrier(5, 1)
	s.BarrierPassed()
	s.Flush()
	wantSeen(t, s.Ready().GetOperatorStates(), 41)
}

// Nothing was begun, so there is nothing that could be resumed without its state.
func TestRule4_6_NothingIsHeldBeforeTheLastMessage(t *testing.T) {
	a := testAssign()
	a.OperatorStateMessages = 2
	r, s := running(t, a, nil)
	s.Restored(5, piece("half"))
	s.Break()
	s = r.host.AcceptWelcome()
	if h := s.Hello; h.GetResume() != nil {
		t.Fatalf("Hello is %v", h)
	}
	a = testAssign()
	a.FencingToken, a.Attempt, a.OperatorStateMessages = 8, 8, 1
	s.Assign(a)
	s.Restored(8, piece(encoded(7)))
	s.Barrier(8, 1)
	s.BarrierPassed()
	wantSeen(t, s.Ready().GetOperatorStates(), 7)
}
