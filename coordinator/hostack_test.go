package coordinator

import (
	"bytes"
	"strings"
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const invalidReason = holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST

// The state is on the host: nothing of it comes by the log, and nothing of the
// job is in the keyed state of the log.
func TestHost_StateIsNotInTheLog(t *testing.T) {
	l, tok := onHosts(t, nil)
	if len(l.keyed.live) != 0 {
		t.Fatal("the log has state of a job on hosts")
	}
	l.refused(flush(1, tok, 1, "a"), invalidReason)
	l.refused(ready(1, tok, 1, 1, 5), invalidReason)
	if v, _ := l.m.Subtask(1); !v.OnHost || v.Backend != "rocksdb" {
		t.Fatalf("view: %+v", v)
	}
	m := newLog(t)
	s, tok := m.running(counterSpec("count"))
	m.refused(ackOnHost(hostAck(s, tok, m.must(begin("job")).CheckpointId, 0)), invalidReason)
}

// Invariants 3 and 6: an ack is judged once, and comes again without harm.
func TestAck_IsJudgedOnce(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(begin("job")).CheckpointId
	ack := func(name string) *internalv1.Command {
		return ackOnHost(hostAck(1, tok, n, 0, file(sst(tok, n, 1, name), false)))
	}
	l.refused(ackOnHost(hostAck(1, tok-1, n, 0)), fencedReason)
	l.refused(ackOnHost(hostAck(99, tok, n, 0)), fencedReason)
	l.refused(ackOnHost(hostAck(1, tok, n+1, 0)), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED)
	l.must(ack("first"))
	l.must(ack("second"))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING)
	l.must(ackOnHost(hostAck(2, tok, n, 0)))
	l.must(ack("third"))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	s, ok := l.m.SnapshotOf("job", n)
	if !ok || !strings.HasSuffix(s.Checkpoint.Acks[0].Handles[0].File, "first") {
		t.Fatalf("snapshot: %v", s)
	}
	if c := l.m.Checkpoint("job", n); len(c.Acks[0].Handles) != 0 || c.Acks[0].StateBytes != 11 {
		t.Fatalf("what people see: %v", c)
	}
}

// Invariant 4: an assignment aborts what is pending, and a late ack of the attempt
// before it changes nothing.
func TestAck_OfAnotherAttempt(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(begin("job")).CheckpointId
	l.must(ackOnHost(hostAck(2, tok, n, 0)))
	next := l.must(assign("job", targetOn(1, tok, "c", "other", "inc2"))).FencingToken
	l.refused(ackOnHost(hostAck(1, tok, n, 0)), fencedReason)
	l.refused(ackOnHost(hostAck(1, next, n, 0)), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED)
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED)
}

// Invariant 12: files are shared with a base that is there, by the subtask that had
// them, and new ones carry the token.
func TestAck_NamesOnlyFilesThatAreThere(t *testing.T) {
	l, tok := onHosts(t, nil)
	of := func(name string) func(n, s uint64) []*holdfastv1.StateHandle {
		return func(n, s uint64) []*holdfastv1.StateHandle {
			return []*holdfastv1.StateHandle{file(sst(tok, n, s, name), false)}
		}
	}
	first := l.checkpointed(tok, 0, of("a"))
	second := l.checkpointed(tok, 0, of("b"))
	n := l.must(begin("job")).CheckpointId
	old, now := sst(tok, first, 1, "a"), sst(tok, second, 1, "b")
	other := file(now, true)
	other.Size++
	for name, c := range map[string]struct {
		base   uint64
		handle *holdfastv1.StateHandle
		want   holdfastv1.ErrorReason
	}{
		"subsumed base":           {first, file(old, true), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND},
		"base that is pending":    {n, file(now, true), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND},
		"file of an older base":   {second, file(old, true), invalidReason},
		"file of another subtask": {second, file(sst(tok, second, 2, "b"), true), invalidReason},
		"file of another size":    {second, other, invalidReason},
		"shared without a base":   {0, file(now, true), invalidReason},
		"old file as new":         {second, file(now, false), invalidReason},
		"another token":           {0, file(sst(tok-1, n, 1, "c"), false), invalidReason},
		"another checkpoint":      {0, file(sst(tok, n-1, 1, "c"), false), invalidReason},
		"another's name":          {0, file(sst(tok, n, 2, "c"), false), invalidReason},
		"another directory":       {0, file("chk-1/"+FilePrefix(tok, n, 1)+"c", false), invalidReason},
		"out of the directory":    {0, file("shared/../../"+FilePrefix(tok, n, 1)+"c", false), invalidReason},
		"a name with a slash":     {0, file(sst(tok, n, 1, "c/d"), false), invalidReason},
		"no hash":                 {0, &holdfastv1.StateHandle{File: sst(tok, n, 1, "c")}, invalidReason},
		"half of the bytes":       {0, inline("a", 2, 1), invalidReason},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.refused(ackOnHost(hostAck(1, tok, n, c.base, c.handle)), c.want)
			if r.Error.Outcome != holdfastv1.Outcome_OUTCOME_FINAL {
				t.Fatalf("outcome: %v", r.Error)
			}
		})
	}
	l.must(ackOnHost(hostAck(1, tok, n, second, file(now, true), file(sst(tok, n, 1, "c"), false), file(CheckpointDir(n)+FilePrefix(tok, n, 1)+"m", false), inline("i", 2, 1, 2))))
	l.must(ackOnHost(hostAck(2, tok, n, second, file(sst(tok, second, 2, "b"), true))))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	if id, hs := l.m.BaseOf(1); id != n || len(hs) != 4 {
		t.Fatalf("base: %d, %v", id, hs)
	}
}

func TestAckPart_CarriesWhatDoesNotFit(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(begin("job")).CheckpointId
	l.must(ackPart(1, tok, n, 0, file(sst(tok, n, 1, "a"), false), inline("big", 6, 1, 2)))
	r := l.refused(ackPart(1, tok, n, 2, inline("big", 6, 9)), gapReason)
	if r.Error.Metadata["part"] != "1" || r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED {
		t.Fatalf("gap: %v", r.Error)
	}
	l.must(ackPart(1, tok, n, 1, inline("big", 6, 3, 4)))
	l.must(ackPart(1, tok, n, 1, inline("big", 6, 3, 4)))
	a := hostAck(1, tok, n, 0, inline("big", 6, 5, 6), inline("big", 1, 7))
	l.refused(ackOnHost(a), gapReason)
	a.Parts = 2
	l.must(ackOnHost(a))
	l.must(ackOnHost(hostAck(2, tok, n, 0)))
	s, _ := l.m.SnapshotOf("job", n)
	h := s.Checkpoint.Acks[0].Handles
	if len(h) != 3 || !bytes.Equal(h[1].Inline, []byte{1, 2, 3, 4, 5, 6}) || !bytes.Equal(h[2].Inline, []byte{7}) {
		t.Fatalf("handles: %v", h)
	}
	if len(l.m.byID["job"].AckParts) != 0 {
		t.Fatal("parts stay behind the ack")
	}
}

// Parts go with what they were for.
func TestAckPart_GoesWithItsCheckpoint(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(begin("job")).CheckpointId
	l.must(ackPart(1, tok, n, 0, inline("a", 1, 1)))
	l.must(abort("job", n))
	l.refused(ackPart(1, tok, n, 1, inline("a", 1, 1)), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED)
	n = l.must(begin("job")).CheckpointId
	l.must(ackPart(1, tok, n, 0, inline("a", 1, 1)))
	l.must(assign("job", targetOn(1, tok, "c", "node", "inc")))
	l.must(ackPart(2, tok, 0, 0, inline("a", 1, 1)))
	l.must(assign("job", targetOn(2, tok, "d", "node", "inc")))
	if p := l.m.byID["job"].AckParts; len(p) != 0 {
		t.Fatalf("parts: %v", p)
	}
}

func TestAck_Bounds(t *testing.T) {
	large := holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE
	l, tok := onHosts(t, nil)
	n := l.must(begin("job")).CheckpointId
	half := inline("half", MaxInlineBytes/2+1)
	half.Inline = make([]byte, half.Size)
	l.must(ackPart(1, tok, n, 0, half))
	r := l.refused(ackPart(1, tok, n, 1, half), large)
	if want := "the snapshot of subtask 0 of \"source\" has 5242882 bytes in the log, at most 5242880 are allowed"; !strings.HasPrefix(r.Error.Message, want) {
		t.Fatalf("got %q", r.Error.Message)
	}
	if p := l.m.byID["job"].AckParts; len(p) != 1 || p[0].Parts != 1 || len(p[0].Handles[0].Inline) != int(half.Size) {
		t.Fatal("a refusal changed the parts")
	}
	l.must(abort("job", n))
	n = l.must(begin("job")).CheckpointId
	many := make([]*holdfastv1.StateHandle, MaxHandles+1)
	for i := range many {
		many[i] = inline("x", 0)
	}
	r = l.refused(ackOnHost(hostAck(1, tok, n, 0, many...)), large)
	if r.Error.Message != `the snapshot of subtask 0 of "source" has 4097 parts, at most 4096 are allowed` {
		t.Fatalf("got %q", r.Error.Message)
	}
}

// All snapshots of a job together fit a record, whatever is retained.
func TestAck_BoundOfTheJob(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) { s.Checkpoint.NumRetained = 100 })
	n := l.must(begin("job")).CheckpointId
	some := func(mib int) *holdfastv1.StateHandle {
		return &holdfastv1.StateHandle{Name: "i", Size: uint64(mib << 20), Inline: make([]byte, mib<<20)}
	}
	l.must(ackPart(1, tok, n, 0, some(4)))
	a := hostAck(2, tok, n, 0, some(4))
	r := l.refused(ackOnHost(a), holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE)
	if want := "the snapshots of all subtasks have 8388608 bytes in the log, at most 7388131 are allowed with 100 retained checkpoints; set a directory"; !strings.HasPrefix(r.Error.Message, want) {
		t.Fatalf("got %q", r.Error.Message)
	}
	l.must(abort("job", n))
	a.CheckpointId = l.must(begin("job")).CheckpointId
	l.must(ackOnHost(a))
}

// What a subtask has inline at its end counts once, before, in and behind the
// checkpoint that is pending then; so does what came of it in parts.
func TestFinish_InlineBytesCountOnce(t *testing.T) {
	l, tok := onHosts(t, nil)
	counts := func(when string, want uint64) {
		t.Helper()
		if got := inlineTotal(l.m.byID["job"]); got != want {
			t.Errorf("%s: %d bytes count, want %d", when, got, want)
		}
	}
	n := l.must(begin("job")).CheckpointId
	l.must(ackPart(1, tok, 0, 0, inline("a", 3, 1, 2, 3)))
	counts("a part of an end", 3)
	l.must(abort("job", n))
	n = l.must(begin("job")).CheckpointId
	counts("the part before the checkpoint", 3)
	l.must(ackPart(1, tok, 0, 1, inline("b", 2, 1, 2)))
	end := finishOnHost(1, tok, inline("c", 1, 1))
	end.GetFinish().Parts = 2
	l.must(end)
	counts("an end while a checkpoint is pending", 6)
	l.must(ackOnHost(hostAck(2, tok, n, 0, inline("d", 1, 1))))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	n = l.must(begin("job")).CheckpointId
	counts("the next checkpoint", 6)
	l.must(ackPart(2, tok, n, 0, inline("d", 2, 1, 2)))
	counts("a part of an ack", 8)
	l.must(abort("job", n))
	counts("behind an aborted checkpoint", 6)
	n = l.must(begin("job")).CheckpointId
	l.must(ackPart(2, tok, n, 0, inline("d", 2, 1, 2)))
	l.must(ackPart(2, tok, 0, 0, inline("e", 9, 1)))
	counts("parts of an ack and of an end", 9)
	a := hostAck(2, tok, n, 0, inline("d", 1, 1))
	a.Parts = 1
	l.must(ackOnHost(a))
	counts("behind a completed checkpoint", 7)
}

// What a decided checkpoint had inline is no part of the total any more: subtasks that
// end between two checkpoints have the whole bound.
func TestFinish_BetweenCheckpoints(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) { s.Checkpoint.NumRetained = 100 })
	some := &holdfastv1.StateHandle{Name: "i", Size: 3 << 20, Inline: make([]byte, 3<<20)}
	l.checkpointed(tok, 0, func(uint64, uint64) []*holdfastv1.StateHandle { return []*holdfastv1.StateHandle{some} })
	for i := uint64(1); i <= 2; i++ {
		if e := l.do(finishOnHost(i, tok, some)).Error; e != nil {
			t.Fatalf("the end of subtask %d: %s", i, e.Message)
		}
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
}

func finishOnHost(subtask, token uint64, handles ...*holdfastv1.StateHandle) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_Finish{Finish: &internalv1.Finish{
		SubtaskId: subtask, FencingToken: token, Handles: handles, StateBytes: 5, Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: 9}}}}}
}

// A subtask that has finished stands with its last state in every later checkpoint,
// and its files stay.
func TestFinish_HandlesStandInLaterCheckpoints(t *testing.T) {
	l, tok := onHosts(t, nil)
	l.refused(finishOnHost(1, tok, file("chk-0/"+FilePrefix(tok, 0, 1)+"x", false)), invalidReason)
	l.must(finishOnHost(1, tok, file(sst(tok, 0, 1, "end"), false)))
	l.must(finishOnHost(1, tok, file(sst(tok, 0, 1, "end2"), false)))
	l.refused(finishOnHost(1, tok-1), fencedReason)
	for range 3 {
		n := l.must(begin("job")).CheckpointId
		l.must(ackOnHost(hostAck(2, tok, n, 0, file(sst(tok, n, 2, "x"), false))))
		s, ok := l.m.SnapshotOf("job", n)
		if !ok || !strings.HasSuffix(s.Checkpoint.Acks[0].Handles[0].File, "end") || s.Checkpoint.Acks[0].Positions[0].NextOffset != 9 {
			t.Fatalf("snapshot: %v", s)
		}
	}
	l.deletions("chk-1/", "chk-2/", sst(tok, 1, 2, "x"), sst(tok, 2, 2, "x"))
	l.must(finishOnHost(2, tok))
	l.status(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	l.deletions("everything")
}

// The whole of it goes through a snapshot.
func TestRecords_OfHostsGoOn(t *testing.T) {
	l, tok := onHosts(t, nil)
	of := func(n, s uint64) []*holdfastv1.StateHandle {
		return []*holdfastv1.StateHandle{file(sst(tok, n, s, "a"), false)}
	}
	first := l.checkpointed(tok, 0, of)
	n := l.must(begin("job")).CheckpointId
	l.must(ackPart(1, tok, n, 0, file(sst(tok, n, 1, "b"), false)))
	m, err := RestoreMachine(l.keyed, l.m.Records())
	if err != nil {
		t.Fatal(err)
	}
	l.m = m
	a := hostAck(1, tok, n, first, file(sst(tok, first, 1, "a"), true))
	a.Parts = 1
	l.must(ackOnHost(a))
	l.must(ackOnHost(hostAck(2, tok, n, first)))
	l.deletions("chk-1/", sst(tok, first, 2, "a"))
}
