package coordinator

import (
	"math"
	"testing"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// leader plays a driver over a machine: commands that are due are applied.
type leader struct {
	*log
	d       *Driver
	now     time.Time
	streams map[string][]*internalv1.OperatorStream
	exited  []string
	silent  map[string]bool
	// incarnations are those of the processes that report.
	incarnations map[string]string
}

func newLeader(t *testing.T) *leader {
	t.Helper()
	l := &leader{log: newLog(t), now: time.Unix(1000, 0), streams: map[string][]*internalv1.OperatorStream{}, silent: map[string]bool{}}
	l.d = NewDriver(DefaultDriverConfig(), l.now)
	return l
}

func (l *leader) connect(node, session, instance, process string) {
	l.streams[node] = append(l.streams[node], &internalv1.OperatorStream{
		SessionId: session, JobId: "job", OperatorUids: []string{"source", "counter"}, InstanceId: instance, ProcessId: process})
}

// pass lets time go by in small steps, with reports and commands on the way.
func (l *leader) pass(d time.Duration) {
	l.t.Helper()
	for end := l.now.Add(d); l.now.Before(end); {
		l.now = l.now.Add(100 * time.Millisecond)
		for node, streams := range l.streams {
			if !l.silent[node] {
				l.d.Observe(l.now, &internalv1.ReportStreamsRequest{NodeId: node, Incarnation: l.incarnations[node], Streams: streams, ExitedProcessIds: l.exited})
			}
		}
		for i := 0; ; i++ {
			cmds := l.d.Step(l.now, l.m)
			if len(cmds) == 0 {
				break
			}
			if i > 10 {
				l.t.Fatalf("the driver does not come to rest: %v", cmds)
			}
			for _, c := range cmds {
				l.do(c)
			}
		}
	}
}

func (l *leader) session(want string) SubtaskView {
	l.t.Helper()
	v, ok := l.m.Subtask(1)
	if !ok || v.SessionID != want {
		l.t.Fatalf("the subtask is on %q, want %q (status %v)", v.SessionID, want, v.Status)
	}
	return v
}

func TestDriver_WaitsForSplitsAndSlots(t *testing.T) {
	l := newLeader(t)
	l.must(submit(counterSpec("count"), "", "job"))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(time.Second)
	l.session("")
	l.must(splits("job", 0))
	l.pass(time.Second)
	l.session("s1")
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
}

func TestDriver_FirstAssignmentNeedsASlotForEach(t *testing.T) {
	l := newLeader(t)
	l.must(submit(coPartitioned(counterSpec("count"), 2), "", "job"))
	l.must(splits("job", 0, 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(time.Second)
	l.session("")
	l.connect("n2", "s2", "i2", "p2")
	l.pass(time.Second)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
}

func started(t *testing.T) *leader {
	t.Helper()
	l := newLeader(t)
	l.must(submit(counterSpec("count"), "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(200 * time.Millisecond)
	l.session("s1")
	l.connect("n2", "s2", "i2", "p2")
	return l
}

func TestDriver_EndedStreamHasASecondToComeBack(t *testing.T) {
	l := started(t)
	l.streams["n1"] = nil
	l.pass(800 * time.Millisecond)
	l.session("s1")
	l.pass(500 * time.Millisecond)
	l.session("s2")
}

func TestDriver_SilentHostHasTheSessionTimeout(t *testing.T) {
	l := started(t)
	l.silent["n1"] = true
	l.pass(14 * time.Second)
	l.session("s1")
	l.pass(2 * time.Second)
	l.session("s2")
}

func TestDriver_ExitedProcessIsReplacedAtOnce(t *testing.T) {
	l := started(t)
	l.exited = []string{"p1"}
	l.pass(200 * time.Millisecond)
	l.session("s2")
}

func TestDriver_NewLeaderGrantsTheSessionTimeout(t *testing.T) {
	l := started(t)
	l.silent["n1"] = true
	l.pass(10 * time.Second)
	l.d = NewDriver(DefaultDriverConfig(), l.now)
	l.pass(10 * time.Second)
	l.session("s1")
	l.pass(6 * time.Second)
	l.session("s2")
}

func TestDriver_LossWaitsForASlotAndCostsNoAttempt(t *testing.T) {
	l := started(t)
	l.streams["n1"], l.streams["n2"] = nil, nil
	l.pass(5 * time.Second)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.connect("n1", "s3", "i3", "p3")
	l.pass(200 * time.Millisecond)
	l.session("s3")
	if a := l.m.byID["job"].Restart.Attempts; a != 0 {
		t.Fatalf("a loss counted %d against the restart strategy", a)
	}
}

func TestDriver_FailureWaitsForTheBackoff(t *testing.T) {
	l := started(t)
	v := l.session("s1")
	l.must(fail(1, v.Token, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, l.now.UnixMilli()))
	l.pass(900 * time.Millisecond)
	l.session("")
	l.pass(400 * time.Millisecond)
	if v, _ := l.m.Subtask(1); v.SessionID == "" {
		t.Fatal("the subtask was not restarted after its backoff")
	}
}

// A wall clock that is wrong, on the host that reported the failure, neither
// prolongs nor shortens a backoff.
func TestDriver_BackoffSurvivesClockJump(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		l := started(t)
		v := l.session("s1")
		l.must(fail(1, v.Token, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, l.now.Add(ahead).UnixMilli()))
		l.pass(800 * time.Millisecond)
		if v, _ := l.m.Subtask(1); v.SessionID != "" {
			t.Errorf("%s ahead: the subtask was restarted before its backoff of a second was over", ahead)
		}
		l.pass(700 * time.Millisecond)
		if v, _ := l.m.Subtask(1); v.SessionID == "" {
			t.Errorf("%s ahead: the backoff followed the wall clock", ahead)
		}
	}
}

func TestDriver_CheckpointsAtTheIntervalAndExpires(t *testing.T) {
	l := newLeader(t)
	spec := counterSpec("count")
	spec.Checkpoint.TimeoutMs = 3000
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(1300 * time.Millisecond)
	v := l.session("s1")
	if v.Pending == nil || v.Pending.ID != 1 {
		t.Fatalf("pending: %v", v.Pending)
	}
	l.must(ready(1, v.Token, 1, 1, 5))
	l.pass(1100 * time.Millisecond)
	v = l.session("s1")
	if v.Pending == nil || v.Pending.ID != 2 || v.Pending.Base != 1 || v.LatestCompleted != 1 {
		t.Fatalf("second checkpoint: %+v", v)
	}
	l.pass(3500 * time.Millisecond)
	if v = l.session("s1"); v.LastAborted != 2 {
		t.Fatalf("checkpoint 2 did not expire: %+v", v)
	}
}

func TestDriver_RestsWhileSuspended(t *testing.T) {
	l := started(t)
	v := l.session("s1")
	l.do(flush(1, v.Token, 1, "too-large"))
	l.pass(5 * time.Second)
	l.session("")
	l.status(holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
}

// A host that was out of touch comes back with the stream: its loss is taken
// back, no rollback, and checkpoints go on although nobody else stands by.
func TestDriver_StreamThatWasThereAllTheTimeGoesOn(t *testing.T) {
	l := newLeader(t)
	l.must(submit(counterSpec("count"), "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(200 * time.Millisecond)
	token := l.session("s1").Token
	l.silent["n1"] = true
	l.pass(20 * time.Second)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.silent["n1"] = false
	l.pass(2 * time.Second)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if v := l.session("s1"); v.Token != token || v.Pending == nil {
		t.Fatalf("after the host came back: %+v", v)
	}
}

// Times that mean "never" overflow nothing.
func TestDriver_LongestTimes(t *testing.T) {
	l := newLeader(t)
	spec := counterSpec("count")
	spec.Checkpoint.IntervalMs, spec.Checkpoint.TimeoutMs = math.MaxInt64, math.MaxUint64
	spec.RestartStrategy = fixed(&holdfastv1.FixedDelay{Attempts: 3, DelayMs: math.MaxUint64})
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(5 * time.Second)
	if _, counts := l.m.Checkpoints("job"); counts.Triggered != 0 {
		t.Fatalf("%d checkpoints were triggered", counts.Triggered)
	}
	l.must(fail(1, l.session("s1").Token, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, l.now.UnixMilli()))
	l.pass(5 * time.Second)
	l.session("")
}

// The pause counts from the end of a checkpoint, so a slow one puts the next off.
func TestDriver_MinPauseFollowsTheEnd(t *testing.T) {
	l := newLeader(t)
	spec := counterSpec("count")
	spec.Checkpoint.MinPauseMs = 2000
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(3 * time.Second)
	v := l.session("s1")
	if v.Pending == nil {
		t.Fatal("no first checkpoint")
	}
	l.must(ready(1, v.Token, 1, v.Pending.ID, 5))
	l.pass(1900 * time.Millisecond)
	if v := l.session("s1"); v.Pending != nil {
		t.Fatal("the next checkpoint began within the pause")
	}
	l.pass(400 * time.Millisecond)
	if v := l.session("s1"); v.Pending == nil {
		t.Fatal("no checkpoint after the pause")
	}
}

// A checkpoint that failed asks for no pause, as in Flink: its min-pause counts
// from the newest completed one.
func TestDriver_NoPauseAfterAFailedCheckpoint(t *testing.T) {
	l := newLeader(t)
	spec := counterSpec("count")
	spec.Checkpoint.MinPauseMs, spec.Checkpoint.TimeoutMs = 60_000, 500
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(5 * time.Second)
	if _, c := l.m.Checkpoints("job"); c.Aborted < 2 {
		t.Fatalf("counts: %v", c)
	}
	v := l.session("s1")
	for v.Pending == nil {
		l.pass(100 * time.Millisecond)
		v = l.session("s1")
	}
	l.must(ready(1, v.Token, 1, v.Pending.ID, 5))
	_, before := l.m.Checkpoints("job")
	l.pass(59 * time.Second)
	if _, c := l.m.Checkpoints("job"); c.Triggered != before.Triggered {
		t.Fatalf("the next checkpoint began within the pause: %v", c)
	}
	l.pass(3 * time.Second)
	if _, c := l.m.Checkpoints("job"); c.Triggered == before.Triggered {
		t.Fatal("no checkpoint after the pause")
	}
}

// A checkpoint that comes and goes between two looks of the leader counts for the
// pause like any other; a person's checkpoint waits for none.
func TestDriver_PauseAfterACheckpointNobodySawPending(t *testing.T) {
	l := newLeader(t)
	spec := counterSpec("count")
	spec.Checkpoint.MinPauseMs = 60_000
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(500 * time.Millisecond)
	tok := l.session("s1").Token
	l.must(ready(1, tok, 1, l.must(begin("job")).CheckpointId, 5))
	l.must(ready(1, tok, 2, l.must(begin("job")).CheckpointId, 6))
	l.pass(10 * time.Second)
	if _, c := l.m.Checkpoints("job"); c.Triggered != 2 {
		t.Fatalf("counts: %v", c)
	}
}

// An attempt whose state was on the host of a stream that broke, and that its operator
// gave up for another stream, is not taken back though the host still shows the stream,
// whether the leader had missed the host before or not.
func TestDriver_AttemptThatWasGivenUpIsNotTakenBack(t *testing.T) {
	for _, missed := range []bool{false, true} {
		l := newLeader(t)
		l.hosts()
		l.must(submit(onDisk(counterSpec("count")), "", "job"))
		l.must(splits("job", 0))
		l.incarnations = map[string]string{"node": "inc", "other": "inc2"}
		l.connect("node", "s1", "i1", "p1")
		l.pass(200 * time.Millisecond)
		v := l.session("s1")
		if missed {
			l.silent["node"] = true
			l.pass(20 * time.Second)
			l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
		} else {
			l.connect("other", "s2", "i1", "p1")
			l.pass(300 * time.Millisecond)
			l.session("s1") // a second stream alone says nothing: the report of it may be old
		}
		gone := lose(1, v.Token)
		gone.GetLoseSubtask().GivenUp = true
		l.must(gone)
		if missed {
			l.connect("other", "s2", "i1", "p1")
			l.silent["node"] = false
		}
		l.pass(200 * time.Millisecond)
		if now := l.session("s2"); now.Attempt == v.Attempt {
			t.Fatalf("missed %v: the attempt goes on: %+v", missed, now)
		}
	}
}
