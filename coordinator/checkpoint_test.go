package coordinator

import (
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// tolerant is a counter job that tolerates n failed checkpoints and restarts
// without bound.
func tolerant(n uint32) *holdfastv1.JobSpec {
	spec := counterSpec("count")
	spec.Checkpoint.TolerableFailedCheckpoints = n
	spec.RestartStrategy = fixed(&holdfastv1.FixedDelay{Attempts: unboundedAttempts})
	return spec
}

func (l *log) expire() { l.t.Helper(); l.must(abort("job", l.must(begin("job")).CheckpointId)) }

// As CheckpointFailureManager of Flink counts: more failures in a row than are
// tolerated restart the job from the newest completed checkpoint.
func TestTolerable_MoreInARowRestartTheJob(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(tolerant(1))
	l.expire()
	l.must(ready(s, tok, 1, l.must(begin("job")).CheckpointId, 5))
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.refused(flush(s, tok, 2, "a"), fencedReason)
	x := l.m.Describe("job").Exceptions
	if e := x[len(x)-1]; e.Error.Reason != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED || e.ExceptionClass != holdfastv1.ExceptionClass_EXCEPTION_CLASS_INTERNAL {
		t.Fatalf("exception: %v", e)
	}
	l.again(s)
	if a := l.m.AssignFrame(s); a.RestoredCheckpointId != 2 {
		t.Fatalf("assign: %v", a)
	}
}

func TestTolerable_ZeroIsTheDefaultAndToleratesNone(t *testing.T) {
	l := newLog(t)
	l.running(tolerant(0))
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
}

// The restart begins the count anew, in Flink clearCount.
func TestTolerable_RestartBeginsTheCountAnew(t *testing.T) {
	l := newLog(t)
	s, _ := l.running(tolerant(2))
	for range 3 {
		l.expire()
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.again(s)
	for range 2 {
		l.expire()
		l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	}
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
}

// A checkpoint that ends with an attempt (Flink: JOB_FAILOVER_REGION) is aborted
// and told as such, and neither counts nor sets the count back.
func TestTolerable_AbortedByARestartDoesNotCount(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(tolerant(1))
	for range 5 {
		l.must(begin("job"))
		l.must(lose(s, tok))
		tok = l.again(s)
		l.must(begin("job"))
		l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000))
		tok = l.again(s)
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if _, c := l.m.Checkpoints("job"); c.Triggered != 10 || c.Aborted != 10 {
		t.Fatalf("counts: %v", c)
	}
	l.expire()
	l.must(begin("job"))
	l.must(lose(s, tok))
	l.again(s)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
}

// A failure ends the pending checkpoint at once: nothing is left that could expire
// during a long backoff and be taken for another failure.
func TestTolerable_FailureEndsThePendingCheckpoint(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(tolerant(0))
	n := l.must(begin("job")).CheckpointId
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000))
	c := l.m.Checkpoint("job", n)
	if c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED || c.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_USER_CODE {
		t.Fatalf("checkpoint: %v", c)
	}
	l.refused(abort("job", n), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED)
}

// A checkpoint that expires because a process is gone and none takes its place
// costs the job nothing: losses cost no attempt.
func TestTolerable_ExpiredWhileAProcessIsGoneDoesNotCount(t *testing.T) {
	spec := tolerant(0)
	spec.RestartStrategy = noRestart()
	l := newLog(t)
	s, tok := l.running(spec)
	n := l.must(begin("job")).CheckpointId
	l.must(lose(s, tok))
	l.must(abort("job", n))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.again(s)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

// Each restart for failed checkpoints is a failure for the restart strategy.
func TestTolerable_CountsAgainstTheRestartStrategy(t *testing.T) {
	spec := tolerant(0)
	spec.RestartStrategy = fixed(&holdfastv1.FixedDelay{Attempts: 1})
	l := newLog(t)
	s, _ := l.running(spec)
	l.expire()
	l.again(s)
	l.expire()
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

// num-retained: the newest n completed ones stay restorable, aborted ones between
// them take no place.
func TestRetained_NewestCompletedStay(t *testing.T) {
	spec := tolerant(1000)
	spec.Checkpoint.NumRetained = 3
	l := newLog(t)
	s, tok := l.running(spec)
	seq := uint64(0)
	for range 8 {
		l.expire()
		seq++
		l.must(ready(s, tok, seq, l.must(begin("job")).CheckpointId, int64(seq)))
	}
	all, _ := l.m.Checkpoints("job")
	var kept []uint64
	for _, c := range all {
		if c.Retained {
			kept = append(kept, c.Id)
		}
	}
	if len(kept) != 3 || kept[0] != 16 || kept[1] != 14 || kept[2] != 12 || len(l.keyed.versions[s]) != 3 {
		t.Fatalf("retained: %v, versions %v", kept, l.keyed.versions[s])
	}
}

func readyWith(subtask, token, seq, checkpoint uint64, at int64, times *holdfastv1.SubtaskCheckpointTimes) *internalv1.Command {
	c := ready(subtask, token, seq, checkpoint, 5)
	c.GetReady().TimeMs, c.GetReady().Times = at, times
	return c
}

func beginAt(at int64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{JobId: "job", TimeMs: at}}}
}

// The numbers of a checkpoint are those of its subtasks, and the summary is over
// all that completed, also those that the history has dropped.
func TestStats_PerSubtaskAndSummary(t *testing.T) {
	l := newLog(t)
	l.must(submit(coPartitioned(counterSpec("count"), 2), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	l.must(flush(1, tok, 1, "abc"))
	n := l.must(beginAt(1000)).CheckpointId
	sync := uint64(200)
	l.must(readyWith(1, tok, 2, n, 1010, &holdfastv1.SubtaskCheckpointTimes{StartDelayUs: 100, SyncUs: &sync}))
	d, _ := l.m.DescribeCheckpoint("job", n)
	if c := d.Checkpoint; c.Subtasks != 2 || len(d.Missing) != 1 || d.Missing[0].SubtaskIndex != 1 || c.Acks[0].FlushedBytes != 3 ||
		c.Acks[0].Times.GetSyncUs() != 200 || c.Acks[0].Times.AsyncUs != nil {
		t.Fatalf("pending: %v", d)
	}
	if _, c := l.m.Checkpoints("job"); c.InProgress != 1 {
		t.Fatalf("counts: %v", c)
	}
	l.must(readyWith(2, tok, 1, n, 1040, nil))
	seq := uint64(2)
	for i := range int64(30) {
		n = l.must(beginAt(10_000 * i)).CheckpointId
		l.must(readyWith(1, tok, seq+1, n, 10_000*i+100, nil))
		l.must(readyWith(2, tok, seq, n, 10_000*i+100, nil))
		seq++
	}
	s := l.m.CheckpointSummary("job")
	if e := s.EndToEndMs; e.Count != 31 || e.Min != 40 || e.Max != 100 || e.Sum != 3040 {
		t.Fatalf("end to end: %v", e)
	}
	if f := s.FlushedBytes; f.Min != 0 || f.Max != 3 || f.Sum != 3 {
		t.Fatalf("flushed: %v", f)
	}
	if _, e := l.m.DescribeCheckpoint("job", 1); e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND {
		t.Fatalf("a checkpoint beyond the history: %v", e)
	}
	if d, _ := l.m.DescribeCheckpoint("job", n); len(d.Missing) != 0 {
		t.Fatalf("completed: %v", d)
	}
}

// Bytes of an attempt that is over are not those of the next.
func TestStats_FlushedBytesBeginAnewWithTheAttempt(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "abcdef"))
	tok = l.must(resume(s, tok, tok, "i-a", "z")).FencingToken
	l.must(flush(s, tok, 2, "gh"))
	n := l.must(begin("job")).CheckpointId
	l.must(ready(s, tok, 3, n, 1))
	if d, _ := l.m.DescribeCheckpoint("job", n); d.Checkpoint.Acks[0].FlushedBytes != 8 {
		t.Fatalf("over a resume: %v", d)
	}
	l.must(flush(s, tok, 4, "abcdef"))
	tok = l.again(s)
	n = l.must(begin("job")).CheckpointId
	l.must(ready(s, tok, 1, n, 1))
	d, _ := l.m.DescribeCheckpoint("job", n)
	if d.Checkpoint.Acks[0].FlushedBytes != 0 {
		t.Fatalf("over an assignment: %v", d)
	}
	if _, c := l.m.Checkpoints("job"); c.Restored != 1 {
		t.Fatalf("counts: %v", c)
	}
}
