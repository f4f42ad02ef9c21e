package coordinator

import (
	"fmt"
	"slices"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// maxTargets bounds one Assign, so that it always fits a command.
const maxTargets = 512

// DriverConfig holds the leader's time limits. None of them decides who may
// write (invariant 1), only when something is given to somebody else.
type DriverConfig struct {
	// SessionTimeout is how long a subtask waits for a process or a host of
	// which nothing is heard.
	SessionTimeout time.Duration
	// ReconnectGrace is how long the process of a stream that ended may take to
	// come back.
	ReconnectGrace time.Duration
	// NodeSilence is how old a host's report may be before what it says of
	// its streams counts as unknown.
	NodeSilence time.Duration
}

// DefaultDriverConfig returns the limits of protocol.md.
func DefaultDriverConfig() DriverConfig {
	return DriverConfig{SessionTimeout: 15 * time.Second, ReconnectGrace: time.Second, NodeSilence: 2 * time.Second}
}

// Driver is the leader's half of the coordinator: from the machine, from what
// hosts report and from the time it derives the commands to propose next. It
// holds soft state only and is made anew by each leader. Not safe for
// concurrent use.
type Driver struct {
	cfg   DriverConfig
	since time.Time // start of this leadership

	reports map[string]report     // by node
	missing map[string]time.Time  // by session: since when it is not reported
	jobs    map[string]*jobTimers // by job id
	next    driverNext            //nolint:unused // by the build of the next version
}

type report struct {
	at          time.Time
	incarnation string
	streams     []*internalv1.OperatorStream
	exited      []string // processes that a supervisor reported gone
}

// jobTimers are the timers of one job. They run on the leader's monotonic
// clock, so that a jump of the wall clock moves none of them.
type jobTimers struct {
	lastBegin    time.Time
	pendingID    uint64
	pendingSince time.Time
	completed    uint64    // the newest completed checkpoint that this leader saw
	completedAt  time.Time // and when it first saw it
	notBefore    int64     // the machine's wall time that restartAt stands for
	restartAt    time.Time // zero: at once
	yieldBehind  uint64    // behind this checkpoint a periodic one gives way
	yieldSince   time.Time // zero: it is still pending, as far as seen
}

// NewDriver begins a leadership: everything that is recorded gets one session
// timeout to show up.
func NewDriver(cfg DriverConfig, now time.Time) *Driver {
	return &Driver{
		cfg: cfg, since: now, reports: map[string]report{}, missing: map[string]time.Time{},
		jobs: map[string]*jobTimers{},
	}
}

// Observe takes what a host says of its streams.
func (d *Driver) Observe(now time.Time, r *internalv1.ReportStreamsRequest) {
	d.reports[r.NodeId] = report{at: now, incarnation: r.Incarnation, streams: r.Streams, exited: r.ExitedProcessIds}
}

// StandbySlots counts the streams of a job that hold no subtask.
func (d *Driver) StandbySlots(now time.Time, m *Machine, jobID string) int {
	return len(d.standbys(now, m, jobID))
}

// Step returns the commands that are due. The caller proposes them, waits for
// their results, and calls again.
func (d *Driver) Step(now time.Time, m *Machine) []*internalv1.Command {
	var out []*internalv1.Command
	live := map[string]bool{}
	for _, j := range m.jobs {
		if !assignable(j.Status) {
			continue
		}
		live[j.JobId] = true
		t := d.jobs[j.JobId]
		if t == nil {
			t = &jobTimers{lastBegin: now}
			d.jobs[j.JobId] = t
		}
		moved := append(d.findLost(now, j), d.findBack(now, j)...)
		out = append(out, moved...)
		if len(moved) > 0 || stopped(j) {
			continue
		}
		if c := d.assign(now, m, j, t); c != nil {
			out = append(out, c)
			continue
		}
		if c := d.checkpoint(now, j, t); c != nil {
			out = append(out, c)
		}
	}
	out = append(out, d.findLostHomes(now, m)...)
	d.forget(m, live)
	if c := d.stepNext(m); c != nil {
		out = append(out, c)
	}
	return out
}

// forget drops the soft state of what is over.
func (d *Driver) forget(m *Machine, live map[string]bool) {
	for id := range d.jobs {
		if !live[id] {
			delete(d.jobs, id)
		}
	}
	if len(d.missing) > 4*len(m.bySubtask)+64 {
		clear(d.missing)
	}
}

// findLost proposes to mark the subtasks whose process is gone.
func (d *Driver) findLost(now time.Time, j jobState) []*internalv1.Command {
	var out []*internalv1.Command
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			return
		}
		why := d.lost(now, st)
		if why == "" {
			return
		}
		out = append(out, &internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: &internalv1.LoseSubtask{
			SubtaskId: st.Id, FencingToken: st.FencingToken, TimeMs: now.UnixMilli(),
			Error: Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, why),
		}}})
	})
	return out
}

// findBack proposes to take back the loss of subtasks whose stream is there
// after all: their host was out of touch, and their process went on.
func (d *Driver) findBack(now time.Time, j jobState) []*internalv1.Command {
	var out []*internalv1.Command
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING || st.GivenUp || st.SessionId == "" || d.exited(st.ProcessId) || !d.reported(now, st) {
			return
		}
		out = append(out, &internalv1.Command{Command: &internalv1.Command_ResumeSubtask{ResumeSubtask: &internalv1.ResumeSubtask{
			SubtaskId: st.Id, Attempt: st.Attempt, ExpectedToken: st.FencingToken,
			InstanceId: st.InstanceId, NodeId: st.NodeId, SessionId: st.SessionId,
		}}})
	})
	return out
}

// reported tells whether a fresh report of its host names a subtask's stream.
func (d *Driver) reported(now time.Time, st subtaskState) bool {
	r, known := d.reports[st.NodeId]
	return known && now.Sub(r.at) <= d.cfg.NodeSilence &&
		slices.ContainsFunc(r.streams, func(s *internalv1.OperatorStream) bool { return s.SessionId == st.SessionId })
}

// lost tells why a running subtask counts as lost now, or nothing.
func (d *Driver) lost(now time.Time, st subtaskState) string {
	if d.exited(st.ProcessId) {
		return "the operator process exited"
	}
	r, known := d.reports[st.NodeId]
	fresh := known && now.Sub(r.at) <= d.cfg.NodeSilence
	if d.reported(now, st) {
		delete(d.missing, st.SessionId)
		return ""
	}
	if !fresh {
		heard := d.since
		if known {
			heard = r.at
		}
		if now.Sub(heard) >= d.cfg.SessionTimeout {
			return fmt.Sprintf("nothing was heard from its host %s for the session timeout of %s", st.NodeId, d.cfg.SessionTimeout)
		}
		return ""
	}
	first, seen := d.missing[st.SessionId]
	if !seen {
		d.missing[st.SessionId] = now
		return ""
	}
	if now.Sub(first) >= d.cfg.ReconnectGrace {
		return fmt.Sprintf("its stream ended and did not come back in %s", d.cfg.ReconnectGrace)
	}
	return ""
}

func (d *Driver) exited(process string) bool {
	for _, r := range d.reports {
		if process != "" && slices.Contains(r.exited, process) {
			return true
		}
	}
	return false
}

// assign proposes streams for the subtasks that have none. A job begins only
// when there is a slot for each; later each takes what it gets.
func (d *Driver) assign(now time.Time, m *Machine, j jobState, t *jobTimers) *internalv1.Command {
	var want []subtaskRef
	forSubtasks(j, func(v vertexState, st subtaskState) {
		waiting := st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING
		failed := st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED && d.restartDue(now, j, t)
		if v.SplitsRecorded && (waiting || failed) {
			want = append(want, subtaskRef{j, v, st})
		}
	})
	if len(want) == 0 {
		return nil
	}
	if first := j.Status == holdfastv1.JobStatus_JOB_STATUS_CREATED; first && !d.enough(now, m, j) {
		return nil
	}
	targets := pick(m, want, d.standbys(now, m, j.JobId))
	if len(targets) == 0 {
		return nil
	}
	targets = targets[:min(len(targets), maxTargets)]
	return &internalv1.Command{Command: &internalv1.Command_Assign{Assign: &internalv1.Assign{
		JobId: j.JobId, Targets: targets, TimeMs: now.UnixMilli(),
	}}}
}

// enough tells whether there is a slot for every subtask of a job that begins.
func (d *Driver) enough(now time.Time, m *Machine, j jobState) bool {
	var want []subtaskRef
	forSubtasks(j, func(v vertexState, st subtaskState) {
		if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			want = append(want, subtaskRef{j, v, st})
		}
	})
	for _, v := range j.Vertices {
		if !v.SplitsRecorded {
			return false
		}
	}
	return len(pick(m, want, d.standbys(now, m, j.JobId))) == len(want)
}

// restartDue tells whether the backoff of a failed subtask is over. It is as long
// as it was set, from when this leader first saw it: the times in the log are
// another node's, whose wall clock may be ahead or behind.
func (d *Driver) restartDue(now time.Time, j jobState, t *jobTimers) bool {
	if t.notBefore != j.Restart.NotBeforeMs {
		t.notBefore = j.Restart.NotBeforeMs
		wait := t.notBefore - j.Restart.LastFailureMs
		t.restartAt = now.Add(time.Duration(max(wait, 0)) * time.Millisecond)
	}
	return !now.Before(t.restartAt)
}

// checkpoint proposes to begin a checkpoint or to give up the pending one.
func (d *Driver) checkpoint(now time.Time, j jobState, t *jobTimers) *internalv1.Command {
	if !checkpointsEnabled(j) {
		return nil
	}
	c := j.Spec.Checkpoint
	if p := j.Pending; p != nil {
		if t.pendingID != p.Id {
			t.pendingID, t.pendingSince = p.Id, now
		}
		if now.Sub(t.pendingSince) < time.Duration(c.TimeoutMs)*time.Millisecond {
			return nil
		}
		return &internalv1.Command{Command: &internalv1.Command_AbortCheckpoint{AbortCheckpoint: &internalv1.AbortCheckpoint{
			JobId: j.JobId, CheckpointId: p.Id, TimeMs: now.UnixMilli(),
			Reason: Failure(holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT, fmt.Sprintf("the checkpoint expired: not every subtask acked in %d ms", c.TimeoutMs)),
		}}}
	}
	// As in Flink the pause follows a completed checkpoint, not one that failed. It
	// may have come and gone between two steps.
	if t.completed != j.LatestCompleted {
		t.completed, t.completedAt = j.LatestCompleted, now
	}
	if j.Status != holdfastv1.JobStatus_JOB_STATUS_RUNNING || now.Sub(t.lastBegin) < time.Duration(c.IntervalMs)*time.Millisecond ||
		now.Sub(t.completedAt) < time.Duration(c.MinPauseMs)*time.Millisecond || t.yields(now, j) {
		return nil
	}
	t.lastBegin = now
	return &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{
		JobId: j.JobId, Trigger: holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_PERIODIC, TimeMs: now.UnixMilli(),
	}}}
}
