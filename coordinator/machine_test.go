package coordinator

import (
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	fencedReason = holdfastv1.ErrorReason_ERROR_REASON_FENCED
	gapReason    = holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP
)

// Invariant 1: only the current token writes.
func TestFlush_OtherTokenIsRefused(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	l.refused(flush(s, tok-1, 2, "a"), fencedReason)
	l.refused(flush(s, tok+1, 2, "a"), fencedReason)
	l.refused(flush(99, tok, 2, "a"), fencedReason)
	l.count(s, "a", 1)
	next := l.must(assign("job", target(s, tok, "b"))).FencingToken
	l.refused(flush(s, tok, 2, "a"), fencedReason)
	l.must(flush(s, next, 1, "a"))
}

// Invariant 6: seq orders frames; a duplicate is answered and not applied, a
// gap is not applied.
func TestFlush_SeqOrdersAndDeduplicates(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	if r := l.must(flush(s, tok, 1, "a")); r.LastSeq != 1 {
		t.Fatalf("a duplicate answers last_seq %d, want 1", r.LastSeq)
	}
	r := l.refused(flush(s, tok, 3, "a"), gapReason)
	if r.LastSeq != 1 || r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED {
		t.Fatalf("a gap answers %v", r)
	}
	l.must(flush(s, tok, 2, "a"))
	l.count(s, "a", 2)
}

// Invariants 2 and 3: the ack has a place in the order of flushes, and what
// comes after it is not in the checkpoint.
func TestReady_IsTheCut(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	n := l.must(begin("job")).CheckpointId
	l.must(flush(s, tok, 1, "a"))
	l.refused(ready(s, tok, 3, n, 101), gapReason)
	l.must(flush(s, tok, 2, "a"))
	l.must(ready(s, tok, 3, n, 102))
	l.must(flush(s, tok, 4, "a"))
	if got := l.keyed.versions[s][n]["a"]; got != 2 {
		t.Fatalf("version %d has %d, want 2", n, got)
	}
	if c := l.m.Checkpoint("job", n); c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
		t.Fatalf("checkpoint: %v", c)
	}
}

// A Ready for a decided checkpoint takes its seq, so that it leaves no gap.
func TestReady_OfDecidedCheckpointTakesItsSeq(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	n := l.must(begin("job")).CheckpointId
	l.must(abort("job", n))
	l.must(ready(s, tok, 1, n, 101))
	l.must(flush(s, tok, 2, "a"))
	if _, ok := l.keyed.versions[s][n]; ok {
		t.Fatal("a late ack froze a version of an aborted checkpoint")
	}
	l.refused(abort("job", n), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED)
}

// Invariant 3: a resume keeps an ack, and a second ack does not replace it.
func TestReady_FirstAckStandsOverResume(t *testing.T) {
	l := newLog(t)
	l.must(submit(coPartitioned(counterSpec("count"), 2), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	n := l.must(begin("job")).CheckpointId
	l.must(ready(1, tok, 1, n, 5))
	r := l.must(resume(1, tok, tok, "i-a", "c"))
	if r.LastSeq != 1 || r.FencingToken == tok {
		t.Fatalf("resume: %v", r)
	}
	l.must(flush(1, r.FencingToken, 2, "a"))
	l.must(ready(1, r.FencingToken, 3, n, 6))
	l.must(ready(2, tok, 1, n, 7))
	c := l.m.Checkpoint("job", n)
	if c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED || c.Acks[0].Positions[0].NextOffset != 5 {
		t.Fatalf("checkpoint: %v", c)
	}
	if got := l.keyed.versions[1][n]["a"]; got != 0 {
		t.Fatalf("the first ack was replaced: %d", got)
	}
}

// Invariant 4: an assignment restores the newest completed checkpoint of its
// own index and aborts what is pending.
func TestAssign_ChoosesRestorePointAndAborts(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	n := l.must(begin("job")).CheckpointId
	l.must(ready(s, tok, 2, n, 150))
	l.must(flush(s, tok, 3, "a"))
	pending := l.must(begin("job")).CheckpointId
	l.must(assign("job", target(s, tok, "b")))
	l.count(s, "a", 1)
	if c := l.m.Checkpoint("job", pending); c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED {
		t.Fatalf("pending checkpoint: %v", c)
	}
	a := l.m.AssignFrame(s)
	if a.RestoredCheckpointId != n || *a.Splits[0].StartOffset != 150 {
		t.Fatalf("assign: %v", a)
	}
	l.refused(ready(s, tok, 4, pending, 160), fencedReason)
	if v, _ := l.m.Subtask(s); v.LastSeq != 0 {
		t.Fatalf("last_seq is %d after an assignment", v.LastSeq)
	}
}

func TestAssign_WithoutCompletedCheckpointBeginsEmpty(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	l.must(assign("job", target(s, tok, "b")))
	l.count(s, "a", 0)
	if a := l.m.AssignFrame(s); *a.Splits[0].StartOffset != 100 {
		t.Fatalf("assign: %v", a)
	}
}

func TestAssign_WithoutCheckpointsKeepsState(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(withoutCheckpoints(counterSpec("count")))
	l.must(flush(s, tok, 1, "a"))
	l.must(assign("job", target(s, tok, "b")))
	l.count(s, "a", 1)
	l.refused(begin("job"), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINTS_DISABLED)
}

func TestAssign_StaleProposalIsRefused(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(assign("job", target(s, tok, "b")))
	l.refused(assign("job", target(s, tok, "c")), fencedReason)
	l.must(submit(counterSpec("other"), "", "job2"))
	l.must(splits("job2", 0))
	l.refused(assign("job2", target(2, 0, "b")), holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	l.refused(assign("job2", target(1, 0, "x")), holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
}

func TestResume_OnlyOfTheCurrentAttempt(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.refused(resume(s, tok, tok, "somebody", "b"), fencedReason)
	l.refused(resume(s, tok-1, tok, "i-a", "b"), fencedReason)
	r := l.must(resume(s, tok, tok, "i-a", "b"))
	// An older resume of the same slot that is applied late names an old token.
	late := l.refused(resume(s, tok, tok, "i-a", "c"), fencedReason)
	if late.FencingToken != r.FencingToken || late.Attempt != tok {
		t.Fatalf("the answer does not tell what is current: %v", late)
	}
	l.refused(flush(s, tok, 1, "a"), fencedReason)
	l.must(flush(s, r.FencingToken, 1, "a"))
}

func TestLose_AttemptMayStillResume(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	lose := &internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: &internalv1.LoseSubtask{SubtaskId: s, FencingToken: tok}}}
	l.must(lose)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.refused(begin("job"), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
	l.must(resume(s, tok, tok, "i-a", "b"))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.refused(lose, fencedReason)
}

// A refused flush takes no seq, everything later of the attempt is refused, the
// job is suspended, and a resume of the job assigns anew.
func TestFlush_RefusalStandsForTheAttempt(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	n := l.must(begin("job")).CheckpointId
	large := flush(s, tok, 2, "too-large")
	large.GetFlush().TimeMs = 4711
	r := l.refused(large, holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE)
	if r.LastSeq != 1 {
		t.Fatalf("a refused flush took seq %d", r.LastSeq)
	}
	d := l.m.Describe("job")
	if len(d.Exceptions) != 1 {
		t.Fatalf("the history has %v", d.Exceptions)
	}
	if x := d.Exceptions[0]; x.TimeMs != 4711 || x.Attempt != tok || x.ProcessId != "p-a" || x.OperatorUid != "source" ||
		x.ExceptionClass != holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER || x.Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE {
		t.Errorf("the refusal is remembered as %v", x)
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	l.refused(flush(s, tok, 2, "a"), holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED)
	if d := l.m.Describe("job"); len(d.Exceptions) != 1 {
		t.Errorf("what follows a refusal is remembered, too: %v", d.Exceptions)
	}
	l.refused(ready(s, tok, 3, n, 1), holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED)
	l.must(flush(s, tok, 1, "a"))
	l.count(s, "a", 1)
	l.refused(assign("job", target(s, tok, "b")), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
	resumeJob := &internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{JobId: "job", RequestId: "r"}}}
	l.must(resumeJob)
	l.must(resumeJob)
	l.must(assign("job", target(s, tok, "b")))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
}

func TestBegin_OnePendingAndIdsRise(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	first := l.must(begin("job")).CheckpointId
	l.refused(begin("job"), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING)
	l.must(abort("job", first))
	manual := begin("job")
	manual.GetBeginCheckpoint().RequestId = "r1"
	second := l.must(manual).CheckpointId
	if second <= first {
		t.Fatalf("ids %d, %d do not rise", first, second)
	}
	l.must(ready(s, tok, 1, second, 1))
	if again := l.must(manual).CheckpointId; again != second {
		t.Fatalf("the same request began checkpoint %d, want %d", again, second)
	}
}

func TestComplete_SubsumesAndRemembersBounded(t *testing.T) {
	l := newLog(t)
	spec := counterSpec("count")
	spec.Checkpoint.NumRetained = 2
	s, tok := l.running(spec)
	const n = 3 * MaxHistory
	for i := range uint64(n) {
		id := l.must(begin("job")).CheckpointId
		l.must(ready(s, tok, i+1, id, int64(i)))
	}
	list, counts := l.m.Checkpoints("job")
	if len(list) > MaxHistory+2 || counts.Completed != n {
		t.Fatalf("%d remembered, counts %v", len(list), counts)
	}
	if !list[0].Retained || !list[1].Retained || list[2].Retained || len(l.keyed.versions[s]) != 2 {
		t.Fatalf("retained: %v %v %v, versions %v", list[0].Retained, list[1].Retained, list[2].Retained, l.keyed.versions[s])
	}
}

func TestFinish_StandsForTheSubtaskInLaterCheckpoints(t *testing.T) {
	l := newLog(t)
	l.must(submit(coPartitioned(counterSpec("count"), 2), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	n := l.must(begin("job")).CheckpointId
	l.must(flush(1, tok, 1, "a"))
	l.must(finish(1, tok, 2, 50))
	l.must(finish(1, tok, 2, 50))
	l.refused(flush(1, tok, 3, "a"), fencedReason)
	l.must(ready(2, tok, 1, n, 3))
	if c := l.m.Checkpoint("job", n); c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
		t.Fatalf("checkpoint %v", c)
	}
	m := l.must(begin("job")).CheckpointId
	l.must(ready(2, tok, 2, m, 4))
	if got := l.keyed.versions[1][m]["a"]; got != 1 {
		t.Fatalf("version %d of the finished subtask has %d", m, got)
	}
	l.must(finish(2, tok, 3, 9))
	l.status(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	if len(l.keyed.live) != 0 {
		t.Fatal("state outlived the job")
	}
}

func TestSubmit_JoinDifferTerminated(t *testing.T) {
	l := newLog(t)
	l.must(submit(counterSpec("count"), "s1", "job"))
	if r := l.must(submit(counterSpec("count"), "s2", "other")); !r.Joined || r.JobId != "job" {
		t.Fatalf("an equal specification did not join: %v", r)
	}
	differs := counterSpec("count")
	differs.Checkpoint.IntervalMs = 5000
	r := l.refused(submit(differs, "s2", "other"), holdfastv1.ErrorReason_ERROR_REASON_JOB_SPEC_DIFFERS)
	if want := "a job \"count\" runs with another specification (checkpoint.interval_ms is 1000, submitted is 5000); cancel it or choose another name"; r.Error.Message != want {
		t.Fatalf("got  %s\nwant %s", r.Error.Message, want)
	}
	cancel := &internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{JobId: "job", RequestId: "c"}}}
	l.must(cancel)
	l.must(cancel)
	for _, submission := range []string{"", "s1"} {
		l.refused(submit(counterSpec("count"), submission, "other"), holdfastv1.ErrorReason_ERROR_REASON_JOB_TERMINATED)
	}
	// A request id is the caller's for one call and job.
	l.must(submit(counterSpec("b"), "", "jobb"))
	l.must(&internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{JobId: "jobb", RequestId: "c"}}})
	if st, _, _ := l.m.JobStatusOf("jobb"); st != holdfastv1.JobStatus_JOB_STATUS_CANCELED {
		t.Fatalf("the second job is %v", st)
	}
	if r := l.must(submit(counterSpec("count"), "s3", "third")); r.Joined || r.JobId != "third" {
		t.Fatalf("a new submission: %v", r)
	}
}

// Invariant 7: every node gives the subtasks of a job the same ids.
func TestSubmit_NumbersSubtasksAlike(t *testing.T) {
	c := submit(coPartitioned(counterSpec("count"), 16), "s1", "a")
	first := newLog(t)
	first.must(c)
	for range 10 {
		l := newLog(t)
		l.must(c)
		if a, b := first.m.Records()[1], l.m.Records()[1]; !proto.Equal(a, b) {
			t.Fatalf("invariant 7: from one log one node has %v, another one %v", a, b)
		}
	}
}

// Invariant 6: an entry that is applied again, because its answer was lost, gives
// the answer that it gave, although its job has ended and another one runs.
func TestSubmit_AppliedAgainNamesItsOwnJob(t *testing.T) {
	l := newLog(t)
	first := submit(counterSpec("count"), "s1", "a")
	l.must(first)
	l.must(cancel("a"))
	l.must(submit(counterSpec("count"), "s2", "b"))
	for _, again := range []string{"b runs", "b has ended"} {
		if r := l.must(first); r.JobId != "a" || r.Joined {
			t.Errorf("%s: the entry that made job a answers %v", again, r)
		}
		l.do(cancel("b"))
	}
	if got := len(l.m.Summaries()); got != 2 {
		t.Errorf("there are %d jobs, want 2", got)
	}
}

func TestRecordSplits_FirstAnswerWins(t *testing.T) {
	l := newLog(t)
	l.must(submit(counterSpec("count"), "", "job"))
	l.must(splits("job", 7))
	l.must(splits("job", 9))
	l.must(assign("job", target(1, 0, "a")))
	if a := l.m.AssignFrame(1); *a.Splits[0].StartOffset != 7 {
		t.Fatalf("assign: %v", a)
	}
}

func TestRecordSplits_MissingSourceFailsTheJob(t *testing.T) {
	l := newLog(t)
	l.must(submit(counterSpec("count"), "", "job"))
	l.must(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
		JobId: "job", OperatorUid: "source", Error: Failure(holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND, "no topic in")}}})
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

func TestFail_OffsetOutOfRangeSuspendsAndAcceptedGapMovesOn(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE, 1))
	l.status(holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	l.refused(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1), fencedReason)
	l.m.byID["job"].Vertices[0].Splits[0].StartOffset = proto.Int64(5)
	l.must(&internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{JobId: "job", AcceptGap: true}}})
	v, _ := l.m.Subtask(s)
	l.must(assign("job", target(s, v.Token, "b")))
	if a := l.m.AssignFrame(s); *a.Splits[0].StartOffset != 9 {
		t.Fatalf("assign: %v", a)
	}
}

func TestCoPartitioned_SplitsFollowKeyGroups(t *testing.T) {
	l := newLog(t)
	l.must(submit(coPartitioned(counterSpec("count"), 3), "", "job"))
	l.must(splits("job", 0, 0, 0, 0))
	l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"), target(3, 0, "c")))
	seen := map[uint32]bool{}
	for id := uint64(1); id <= 3; id++ {
		a := l.m.AssignFrame(id)
		for _, s := range a.Splits {
			if s.Partition < a.KeyGroupStart || s.Partition >= a.KeyGroupEnd || seen[s.Partition] {
				t.Fatalf("split %d of subtask %v", s.Partition, a)
			}
			seen[s.Partition] = true
		}
	}
	if len(seen) != 4 {
		t.Fatalf("%d of 4 splits are assigned", len(seen))
	}
}

func TestApply_UnknownCommandHalts(t *testing.T) {
	if _, err := NewMachine(newFakeState()).Apply(1, &internalv1.Command{}); err == nil {
		t.Fatal("a command of a newer version was skipped")
	}
}

// Records are the whole state: a machine restored from them goes on alike, and
// later commands do not change them.
func TestRecords_RestoreGoesOn(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	n := l.must(begin("job")).CheckpointId
	records := l.m.Records()
	before := make([]string, len(records))
	for i, r := range records {
		before[i] = r.String()
	}
	l.must(ready(s, tok, 1, n, 3))
	for i, r := range records {
		if r.String() != before[i] {
			t.Fatalf("record %d changed after it was taken", i)
		}
	}
	m, err := RestoreMachine(l.keyed, l.m.Records())
	if err != nil {
		t.Fatal(err)
	}
	l.m = m
	l.must(flush(s, tok, 2, "a"))
	if id := l.must(begin("job")).CheckpointId; id != n+1 {
		t.Fatalf("checkpoint %d after a restore, want %d", id, n+1)
	}
	if r := l.must(submit(counterSpec("next"), "", "job2")); r.JobId != "job2" || l.m.byID["job2"].Vertices[0].Subtasks[0].Id != 2 {
		t.Fatal("subtask ids are used twice after a restore")
	}
}
