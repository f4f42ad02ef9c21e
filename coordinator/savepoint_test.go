package coordinator

import (
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func savepoint(directory string, then holdfastv1.BarrierThen, cancels bool) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{
		JobId: "job", Kind: holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT, Then: then, SavepointDirectory: directory, Cancel: cancels}}}
}

const (
	goOn = holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE
	halt = holdfastv1.BarrierThen_BARRIER_THEN_SUSPEND
)

// acks completes the pending checkpoint.
func (l *log) acks(token, n uint64) {
	l.t.Helper()
	for s := uint64(1); s <= 2; s++ {
		l.must(ackOnHost(hostAck(s, token, n, 0, oneFile(token)(n, s)...)))
	}
}

// A savepoint is a checkpoint that stays until its export is recorded, however many
// come after it.
func TestSavepoint_StaysUntilItIsWritten(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(savepoint("file:///mnt/sp/", goOn, false)).CheckpointId
	if v, _ := l.m.Subtask(1); v.Pending.Kind != holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT {
		t.Fatalf("the host sees %+v", v.Pending)
	}
	l.acks(tok, n)
	for range 3 {
		l.checkpointed(tok, 0, oneFile(tok))
	}
	l.deletions("chk-2/", "chk-3/", sst(tok, 2, 1, "a"), sst(tok, 2, 2, "a"), sst(tok, 3, 1, "a"), sst(tok, 3, 2, "a"))
	var due []Export
	for _, x := range l.m.Exports() {
		if x.Savepoint {
			due = append(due, x)
		}
	}
	if len(due) != 1 || due[0].CheckpointID != n || due[0].SavepointDirectory != "file:///mnt/sp" {
		t.Fatalf("exports: %+v", due)
	}
	l.must(exported(n, true, "file:///mnt/sp/savepoint-1", nil))
	c := l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	if c.Retained || c.SavepointPath != "file:///mnt/sp/savepoint-1" {
		t.Fatalf("savepoint: %v", c)
	}
	l.must(exported(n, true, "file:///mnt/sp/again", nil))
	if l.m.Checkpoint("job", n).SavepointPath != c.SavepointPath {
		t.Fatal("a second export counts")
	}
}

// Whoever waits for a savepoint that took longer than the history of checkpoints is told
// of it, however soon the next ones come; and they are not kept for ever.
func TestSavepoint_IsRememberedWhenItIsWritten(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId
	l.acks(tok, n)
	for range MaxHistory + 5 {
		l.checkpointed(tok, 0, oneFile(tok))
	}
	l.must(exported(n, true, "file:///mnt/sp/savepoint-1", nil))
	for range MaxHistory + 5 {
		l.checkpointed(tok, 0, oneFile(tok))
	}
	if c := l.m.Checkpoint("job", n); c.GetSavepointPath() == "" {
		t.Fatalf("savepoint: %v", c)
	}
	for range MaxSavepoints {
		next := l.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId
		l.acks(tok, next)
		l.must(exported(next, true, "file:///mnt/sp/more", nil))
		for range 4 { // so that it is subsumed
			l.checkpointed(tok, 0, oneFile(tok))
		}
	}
	if c := l.m.Checkpoint("job", n); c != nil {
		t.Errorf("it is remembered behind %d others: %v", MaxSavepoints, c)
	}
}

// If only the export fails the checkpoint stands.
func TestSavepoint_FailedExportLeavesTheCheckpoint(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId
	l.acks(tok, n)
	l.must(exported(n, true, "", Failure(holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED, "full")))
	c := l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	if !c.Retained || c.ExportError.GetMessage() != "full" {
		t.Fatalf("savepoint: %v", c)
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
}

func TestSavepoint_Refusals(t *testing.T) {
	l, tok := onHosts(t, nil)
	l.refused(savepoint("", goOn, false), invalidReason)
	l.refused(savepoint("/x", goOn, false), invalidReason)
	l.refused(savepoint("file:///x", 9, false), invalidReason)
	l.refused(&internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{JobId: "job", Then: halt}}}, invalidReason)
	l.must(begin("job"))
	r := l.refused(savepoint("file:///x", goOn, false), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING)
	if r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED {
		t.Fatalf("outcome: %v", r.Error)
	}
	l.acks(tok, 1)
	l.must(savepoint("file:///x", goOn, false))
	d, _ := onHosts(t, func(s *holdfastv1.JobSpec) { s.Checkpoint.SavepointDirectory = "s3://b" })
	n := d.must(savepoint("", goOn, false)).CheckpointId
	if got := d.m.Checkpoint("job", n).SavepointDirectory; got != "s3://b" {
		t.Fatalf("the job's own directory: %q", got)
	}
}

// Stop: nothing is processed behind the cut, and the job ends with what was asked
// for once the savepoint is written.
func TestStop_EndsWithTheSavepoint(t *testing.T) {
	for _, c := range []struct {
		cancels bool
		want    holdfastv1.JobStatus
	}{{false, holdfastv1.JobStatus_JOB_STATUS_FINISHED}, {true, holdfastv1.JobStatus_JOB_STATUS_CANCELED}} {
		l, tok := onHosts(t, nil)
		n := l.must(savepoint("file:///mnt/sp", halt, c.cancels)).CheckpointId
		l.acks(tok, n)
		l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
		l.refused(begin("job"), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
		l.must(lose(1, tok))
		l.refused(assign("job", targetOn(1, tok, "c", "node", "inc")), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
		l.must(exported(n, true, "file:///mnt/sp/savepoint-1", nil))
		l.status(c.want)
		l.deletions("everything")
		if got := l.m.Checkpoint("job", n).SavepointPath; got == "" {
			t.Fatal("the savepoint is forgotten")
		}
	}
}

// A stop that fails lets the job go on: from the cut if it was completed.
func TestStop_Failed(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(savepoint("file:///mnt/sp", halt, true)).CheckpointId
	l.must(abort("job", n))
	l.must(lose(1, tok))
	tok = l.must(assign("job", targetOn(1, tok, "c", "node", "inc"), targetOn(2, tok, "d", "node", "inc"))).FencingToken
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)

	n = l.must(savepoint("file:///mnt/sp", halt, false)).CheckpointId
	l.acks(tok, n)
	l.must(exported(n, true, "", Failure(holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED, "full")))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	v, _ := l.m.Subtask(1)
	w, _ := l.m.Subtask(2)
	l.refused(ackOnHost(hostAck(1, tok, n, 0)), fencedReason)
	l.must(assign("job", targetOn(1, v.Token, "e", "node", "inc"), targetOn(2, w.Token, "f", "node", "inc")))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if r, ok := l.m.RestorePointOf(1); !ok || r.CheckpointID != n || len(r.Handles) != 1 || r.Token != tok {
		t.Fatalf("restore point: %+v", r)
	}
}

// A job may end before its savepoint is written: what that needs stays.
func TestSavepoint_OutlivesItsJob(t *testing.T) {
	l, tok := onHosts(t, nil)
	n := l.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId
	l.acks(tok, n)
	l.must(cancel("job"))
	l.deletions()
	if _, ok := l.m.SnapshotOf("job", n); !ok || len(l.m.Exports()) != 1 {
		t.Fatalf("exports: %v", l.m.Exports())
	}
	l.must(exported(n, true, "file:///mnt/sp/savepoint-1", nil))
	l.deletions("everything")

	m := newLog(t)
	s, tok := m.running(counterSpec("count"))
	n = m.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId
	m.must(ready(s, tok, 1, n, 101))
	m.must(finish(s, tok, 2, 110))
	m.status(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	if _, ok := m.keyed.versions[s][n]; !ok {
		t.Fatal("the version is gone before it is written")
	}
	m.must(exported(n, true, "p", nil))
	if len(m.keyed.live) != 0 {
		t.Fatal("the state stays in the log")
	}
}

// Savepoints that wait to be written each keep a checkpoint, so they are bounded.
func TestSavepoint_Bound(t *testing.T) {
	l, tok := onHosts(t, nil)
	for range MaxSavepoints {
		l.acks(tok, l.must(savepoint("file:///mnt/sp", goOn, false)).CheckpointId)
	}
	r := l.refused(savepoint("file:///mnt/sp", goOn, false), holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED)
	if r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED {
		t.Fatalf("outcome: %v", r.Error)
	}
	l.checkpointed(tok, 0, oneFile(tok))
	l.must(exported(1, true, "p", nil))
	l.must(savepoint("file:///mnt/sp", goOn, false))
}
