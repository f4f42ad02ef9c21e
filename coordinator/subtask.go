package coordinator

import (
	"fmt"
	"strconv"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// takeSeq judges a frame by token and seq (invariants 1 and 6). A result that
// is not nil is the answer; nil says that the frame is the next one.
func (m *Machine) takeSeq(ref subtaskRef, command string, token, seq uint64) *internalv1.CommandResult {
	st := ref.st
	switch {
	case st == nil:
		return refusal(jobGone())
	case onHost(ref.job):
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the state of this job is on its hosts and not in the log"))
	case !tokenIsCurrent(st, token):
		return m.answer(st, fenced(st))
	case seqIsTaken(st, seq):
		m.metrics.countUnchanged(command, reasonDuplicate)
		return m.answer(st, nil)
	case refusalStands(st):
		return m.answer(st, Failure(holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED,
			"an earlier flush of this attempt was refused: "+st.Refusal.Message))
	case st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED:
		return m.answer(st, fenced(st))
	case st.Loading:
		return m.answer(st, stillLoading())
	case seqLeavesGap(st, seq):
		return m.answer(st, notApplied(holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP,
			fmt.Sprintf("seq %d does not follow %d; send again from %d", seq, st.LastSeq, st.LastSeq+1)))
	}
	return nil
}

func (m *Machine) answer(st subtaskState, e *holdfastv1.Error) *internalv1.CommandResult {
	return &internalv1.CommandResult{Error: e, FencingToken: st.FencingToken, Attempt: st.Attempt, LastSeq: st.LastSeq}
}

func (m *Machine) applyFlush(index uint64, c *internalv1.Flush) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if r := m.takeSeq(ref, "flush", c.FencingToken, c.Seq); r != nil {
		return r
	}
	if e := m.keyed.Apply(c.SubtaskId, c.Sections, c.TimeMs); e != nil {
		nameState(ref, e)
		// What the state does not take is the program's doing.
		m.remember(ref, e, holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER, c.TimeMs)
		ref.st.Refusal = e
		m.abortPending(ref.job, e, c.TimeMs)
		m.suspend(index, ref.job, ref.st, e)
		return m.answer(ref.st, e)
	}
	ref.st.LastSeq = c.Seq
	ref.st.FlushedBytes += sectionBytes(c.Sections)
	return m.answer(ref.st, nil)
}

// nameState puts the name of the state before a refusal that has its number.
func nameState(ref subtaskRef, e *holdfastv1.Error) {
	for _, s := range ref.vertex.StateIds {
		if e.Metadata["state_id"] == strconv.FormatUint(uint64(s.Id), 10) {
			e.Message = fmt.Sprintf("state %q of operator %q: %s", s.StateName, s.OperatorUid, e.Message)
		}
	}
}

// applyReady takes the seq of the frame whatever became of the checkpoint, so
// that a Ready for a decided one leaves no gap, and acks a pending one once.
func (m *Machine) applyReady(index uint64, c *internalv1.Ready) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if r := m.takeSeq(ref, "ready", c.FencingToken, c.Seq); r != nil {
		return r
	}
	if takesSeq(ref.job, c.CheckpointId) {
		ref.st.LastSeq = c.Seq
	}
	res := m.answer(ref.st, nil)
	if !waitsFor(ref.job, c.CheckpointId) {
		m.metrics.countUnchanged("ready", reasonDecided)
		return res
	}
	if !m.ackStands(ref.job.Pending, ref.st.Id) {
		declined := c.Declined
		if declined == nil {
			declined = checkInLog(ref, c.Handles)
		}
		if declined != nil {
			m.applyAbort(index, &internalv1.AbortCheckpoint{
				JobId: ref.job.JobId, CheckpointId: c.CheckpointId, Reason: declined, TimeMs: c.TimeMs, Jitter: c.Jitter,
			})
			return res
		}
		countInline(ref.job, c.Handles)
	}
	m.ack(ref, c.Positions, c.Handles, c.TimeMs, c.Times)
	return res
}

// applyFinish ends a subtask. Its last state and positions stand for it in the
// pending checkpoint and in all later ones.
func (m *Machine) applyFinish(index uint64, c *internalv1.Finish) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if ref.st != nil && onHost(ref.job) {
		return m.finishOnHost(index, ref, c)
	}
	if r := m.takeSeq(ref, "finish", c.FencingToken, c.Seq); r != nil {
		return r
	}
	if e := checkInLog(ref, c.Handles); e != nil {
		return m.answer(ref.st, e)
	}
	ref.st.LastSeq, ref.st.FinishedHandles = c.Seq, c.Handles
	countInline(ref.job, c.Handles)
	return m.finish(index, ref, c)
}

func (m *Machine) finish(index uint64, ref subtaskRef, c *internalv1.Finish) *internalv1.CommandResult {
	st := ref.st
	st.Status = holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED
	st.FinishedPositions = c.Positions
	m.setSession(st, "")
	m.touch(ref.job)
	res := m.answer(st, nil)
	dropParts(ref.job, func(p *internalv1.AckParts) bool { return p.SubtaskId == st.Id })
	if ref.job.Pending != nil {
		m.ackFinished(ref, c.TimeMs)
	}
	if allFinished(ref.job) {
		m.endJob(index, ref.job, holdfastv1.JobStatus_JOB_STATUS_FINISHED, nil, c.TimeMs)
	} else {
		m.settleStatus(ref.job)
	}
	return res
}

// applyAssign gives subtasks to streams. The restore point is chosen here, at
// this index, and every pending checkpoint is aborted by the same entry
// (invariant 4), so that none can mix attempts.
func (m *Machine) applyAssign(index uint64, c *internalv1.Assign) *internalv1.CommandResult {
	j := m.byID[c.JobId]
	if j == nil {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, "no job "+c.JobId))
	}
	switch {
	case !assignable(j.Status):
		return refusal(jobStateError(j, "its subtasks are not assigned"))
	case stopped(j):
		return refusal(jobStateError(j, "it ends once its savepoint is written"))
	}
	for _, t := range c.Targets {
		ref := m.bySubtask[t.SubtaskId]
		if ref.job != j {
			return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "a target is no subtask of the job"))
		}
		if ref.st.FencingToken != t.ExpectedToken || ref.st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED || !ref.vertex.SplitsRecorded {
			return m.answer(ref.st, fenced(ref.st))
		}
		if other, ok := m.bySession[t.SessionId]; ok && other != t.SubtaskId {
			return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the stream has another subtask"))
		}
		if e := m.checkHome(ref, t); e != nil {
			return m.answer(ref.st, e)
		}
	}
	m.abortForAssign(j, c.TimeMs)
	for _, t := range c.Targets {
		if e := m.assignOne(index, m.bySubtask[t.SubtaskId], t); e != nil {
			m.remember(m.bySubtask[t.SubtaskId], e, holdfastv1.ExceptionClass_EXCEPTION_CLASS_INTERNAL, c.TimeMs)
			m.suspend(index, j, nil, e)
			return refusal(e)
		}
	}
	if checkpointsEnabled(j) && (j.LatestCompleted != 0 || j.Restore != nil) {
		j.Counts.Restored++
	}
	m.settleStatus(j)
	m.touch(j)
	return &internalv1.CommandResult{FencingToken: index, Attempt: index}
}

func (m *Machine) assignOne(index uint64, ref subtaskRef, t *internalv1.AssignTarget) *holdfastv1.Error {
	st, j := ref.st, ref.job
	if st.NodeId != "" || st.RestoredCheckpoint != 0 || st.Attempt != 0 {
		j.Restart.Restarts++
	}
	st.Attempt, st.FencingToken, st.LastSeq, st.Refusal = index, index, seqOfNewAttempt(st), nil
	st.NodeId, st.InstanceId, st.ProcessId = t.NodeId, t.InstanceId, t.ProcessId
	m.setSession(st, t.SessionId)
	st.Status, st.GivenUp = holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING, false
	st.LastAborted, st.FlushedBytes = 0, 0
	dropParts(j, func(p *internalv1.AckParts) bool { return p.SubtaskId == st.Id })
	makeHome(index, ref, t)
	m.beginRestore(index, ref)
	if !checkpointsEnabled(j) || onHost(j) {
		return nil
	}
	if !m.rollBack(st, j.LatestCompleted) {
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST,
			fmt.Sprintf("the state of checkpoint %d is gone", j.LatestCompleted), "checkpoint", fmt.Sprint(j.LatestCompleted))
	}
	return nil
}

// applyResumeSubtask moves an attempt to another stream of the same instance:
// a new token, nothing else changes. For the stream that has it already, only
// its loss is taken back.
func (m *Machine) applyResumeSubtask(index uint64, c *internalv1.ResumeSubtask) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	st := ref.st
	if st == nil {
		return refusal(jobGone())
	}
	running := st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING
	if st.Attempt != c.Attempt || st.InstanceId != c.InstanceId || st.FencingToken != c.ExpectedToken || !running || st.GivenUp {
		return m.answer(st, fenced(st))
	}
	if other, ok := m.bySession[c.SessionId]; ok && other != st.Id || onHost(ref.job) && c.SessionId != st.SessionId {
		// State on a host belongs to the attempt, or to the home: another stream gets
		// it by an Assign.
		return m.answer(st, fenced(st))
	}
	if c.SessionId != st.SessionId {
		st.FencingToken = index
		st.NodeId = c.NodeId
		m.setSession(st, c.SessionId)
	}
	st.Status = holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING
	m.settleStatus(ref.job)
	m.touch(ref.job)
	return m.answer(st, nil)
}

// applyLose records that the process of an attempt is gone. The attempt stays
// current until the next Assign, so it may still resume, unless its operator gave it up.
func (m *Machine) applyLose(c *internalv1.LoseSubtask) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if waits := ref.st.GetStatus() == holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING; waits && c.GivenUp && ref.st.FencingToken == c.FencingToken {
		ref.st.GivenUp = true // the loss is known, and is not to be taken back
		m.touch(ref.job)
		return m.answer(ref.st, nil)
	}
	if ref.st == nil || ref.st.FencingToken != c.FencingToken || ref.st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the attempt is not running"))
	}
	m.remember(ref, c.Error, holdfastv1.ExceptionClass_EXCEPTION_CLASS_LOST, c.TimeMs)
	ref.st.Status, ref.st.GivenUp = holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING, c.GivenUp
	m.settleStatus(ref.job)
	m.touch(ref.job)
	return m.answer(ref.st, nil)
}

// applyFail ends an attempt that reported a failure, once for its token, and
// asks the restart strategy.
func (m *Machine) applyFail(index uint64, c *internalv1.FailSubtask) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if ref.st == nil || ref.st.FencingToken != c.FencingToken || !assignable(ref.job.Status) || ref.st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the attempt is over"))
	}
	j := ref.job
	if hasHome(j) && c.Error.GetReason() == holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST {
		ref.st.HomeLost = true
	}
	m.remember(ref, c.Error, exceptionClass(c.FailureClass), c.TimeMs)
	backingOff := anyFailed(j)
	m.abortPending(j, Failure(c.Error.GetReason(), "a subtask failed"), c.TimeMs)
	m.fence(index, ref.st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED)
	m.touch(j)
	if suspends(j, c.Error.GetReason()) {
		m.suspend(index, j, nil, c.Error)
		return m.answer(ref.st, nil)
	}
	m.restart(index, j, c.Error, failedAt{nowMs: c.TimeMs, jitter: c.Jitter, backingOff: backingOff})
	return m.answer(ref.st, nil)
}

// failAll ends the attempts of a whole job for a failure that is not one
// subtask's, and asks the restart strategy.
func (m *Machine) failAll(index uint64, j jobState, e *holdfastv1.Error, timeMs int64, jitter float64) {
	m.remember(subtaskRef{job: j, vertex: &internalv1.Vertex{}, st: &internalv1.Subtask{}}, e,
		holdfastv1.ExceptionClass_EXCEPTION_CLASS_INTERNAL, timeMs)
	backingOff := anyFailed(j)
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
			m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED)
		}
	})
	m.touch(j)
	m.restart(index, j, e, failedAt{nowMs: timeMs, jitter: jitter, backingOff: backingOff})
}

// restart asks the restart strategy after a failure: the job waits for its
// backoff, or fails.
func (m *Machine) restart(index uint64, j jobState, e *holdfastv1.Error, at failedAt) {
	delay, ok := nextRestart(j, at)
	if !ok {
		m.endJob(index, j, holdfastv1.JobStatus_JOB_STATUS_FAILED, e, at.nowMs)
		return
	}
	j.Restart.NotBeforeMs = at.nowMs + int64(delay)
	j.Reason = e
	m.settleStatus(j)
}

// anyFailed tells whether a subtask of the job waits for its restart.
func anyFailed(j jobState) (found bool) {
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		found = found || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED
	})
	return found
}

// fence makes every token that was ever given out for the subtask invalid.
func (m *Machine) fence(index uint64, st subtaskState, status holdfastv1.SubtaskStatus) {
	st.Attempt, st.FencingToken, st.LastSeq, st.Refusal = index, index, 0, nil
	st.NodeId, st.InstanceId, st.ProcessId = "", "", ""
	m.setSession(st, "")
	st.Status, st.GivenUp = status, false
}

func (m *Machine) setSession(st subtaskState, session string) {
	if st.SessionId != "" {
		delete(m.bySession, st.SessionId)
	}
	st.SessionId = session
	if session != "" {
		m.bySession[session] = st.Id
	}
}

// remember adds to the exception history of a job. It comes before fence, which
// forgets who had the attempt.
func (m *Machine) remember(ref subtaskRef, e *holdfastv1.Error, class holdfastv1.ExceptionClass, timeMs int64) {
	m.metrics.failures.WithLabelValues(ReasonName(e.GetReason())).Inc()
	ref.job.Exceptions = append(ref.job.Exceptions, &holdfastv1.ExceptionRecord{
		TimeMs: timeMs, OperatorUid: ref.vertex.OperatorUid, SubtaskIndex: ref.st.Index, Attempt: ref.st.Attempt,
		NodeId: ref.st.NodeId, NodeName: m.nodeName(ref.st.NodeId), ProcessId: ref.st.ProcessId, Error: e, ExceptionClass: class,
	})
	if n := len(ref.job.Exceptions); n > MaxExceptions {
		ref.job.Exceptions = ref.job.Exceptions[n-MaxExceptions:]
	}
}

// suspends tells whether a failure is one that no restart can mend.
func suspends(j jobState, r holdfastv1.ErrorReason) bool {
	switch r {
	case holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE,
		holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST,
		holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE,
		holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED:
		return true
	case holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE:
		// What a flush is refused with, where the host judges it.
		return onHost(j)
	}
	return false
}
