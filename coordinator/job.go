package coordinator

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// applySubmit makes a job or joins the running one (architecture, the life of
// a job). The content is its own request id: the same submission again joins.
func (m *Machine) applySubmit(c *internalv1.SubmitJob) *internalv1.CommandResult {
	spec, err := NormalizeSpec(c.Spec)
	if err != nil {
		return refusal(err)
	}
	if made := m.byID[c.JobId]; made != nil && made.Spec.Name == spec.Name && made.SubmissionId == c.SubmissionId {
		// The same entry again, whose first answer was lost. Whatever became of its
		// job since, and of others of the name, it did not join them.
		return &internalv1.CommandResult{JobId: made.JobId}
	}
	if r := m.judgeName(c, spec); r != nil {
		return r
	}
	if m.byID[c.JobId] != nil || c.JobId == "" {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the job id is empty or in use"))
	}
	if e := m.checkBackend(spec); e != nil {
		return refusal(e)
	}
	if e := m.checkRestore(c.Restore); e != nil {
		return refusal(e)
	}
	j := &internalv1.Job{
		JobId: c.JobId, Spec: spec, SubmissionId: c.SubmissionId, Status: holdfastv1.JobStatus_JOB_STATUS_CREATED,
		CreatedMs: c.TimeMs, Vertices: buildVertices(spec), NextCheckpointId: c.Restore.GetCheckpointId() + 1,
		Counts: &holdfastv1.CheckpointCounts{}, Restart: &internalv1.RestartState{}, Restore: c.Restore,
	}
	m.numberSubtasks(j)
	m.jobs = append(m.jobs, j)
	m.index(j)
	m.touch(j)
	m.trimEnded()
	return &internalv1.CommandResult{JobId: j.JobId}
}

// judgeName joins a job of the name that has not ended, or refuses a name that may
// not be used again; nil: a new job may have it.
func (m *Machine) judgeName(c *internalv1.SubmitJob, spec *holdfastv1.JobSpec) *internalv1.CommandResult {
	if old := m.byName[spec.Name]; old != nil {
		switch {
		case !ended(old.Status) && proto.Equal(old.Spec, spec):
			return &internalv1.CommandResult{JobId: old.JobId, Joined: true}
		case !ended(old.Status):
			return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_SPEC_DIFFERS,
				fmt.Sprintf("a job %q runs with another specification (%s); cancel it or choose another name", spec.Name, specDifference(old.Spec, spec)),
				"job_id", old.JobId, "difference", specDifference(old.Spec, spec)))
		case c.SubmissionId == "" || c.SubmissionId == old.SubmissionId:
			return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_TERMINATED,
				fmt.Sprintf("the job %q has ended (%s); submit it anew with `holdfast run`", spec.Name, statusName(old.Status)),
				"job_id", old.JobId, "status", statusName(old.Status)))
		}
	}
	return nil
}

// applyRecordSplits takes the first answer to split discovery and makes the
// subtasks' state.
func (m *Machine) applyRecordSplits(index uint64, c *internalv1.RecordSplits) *internalv1.CommandResult {
	j := m.byID[c.JobId]
	if j == nil || ended(j.Status) {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, "no such running job"))
	}
	var v vertexState
	for _, x := range j.Vertices {
		if x.OperatorUid == c.OperatorUid {
			v = x
		}
	}
	switch {
	case v == nil:
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "no source "+strconv.Quote(c.OperatorUid)))
	case v.SplitsRecorded:
		return &internalv1.CommandResult{Joined: true}
	case c.Error != nil:
		m.remember(subtaskRef{j, v, &internalv1.Subtask{}}, c.Error, holdfastv1.ExceptionClass_EXCEPTION_CLASS_EXTERNAL, c.TimeMs)
		m.endJob(index, j, holdfastv1.JobStatus_JOB_STATUS_FAILED, c.Error, c.TimeMs)
		return &internalv1.CommandResult{}
	}
	if e := checkSplits(j, v, c.Splits); e != nil {
		m.remember(subtaskRef{j, v, &internalv1.Subtask{}}, e, holdfastv1.ExceptionClass_EXCEPTION_CLASS_EXTERNAL, c.TimeMs)
		m.endJob(index, j, holdfastv1.JobStatus_JOB_STATUS_FAILED, e, c.TimeMs)
		return refusal(e)
	}
	v.Splits, v.SplitsRecorded = c.Splits, true
	setKeyGroups(v)
	if !onHost(j) {
		for _, st := range v.Subtasks {
			m.keyed.Create(st.Id, spaceOf(j, v, st))
		}
	}
	m.touch(j)
	return &internalv1.CommandResult{}
}

func (m *Machine) applyCancel(index uint64, c *internalv1.CancelJob) *internalv1.CommandResult {
	if r := m.keptResult(requestKey("cancel", c.JobId, c.RequestId)); r != nil {
		return r
	}
	j := m.byID[c.JobId]
	switch {
	case j == nil:
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, fmt.Sprintf("no job %q", c.JobId)))
	case ended(j.Status):
		return refusal(jobStateError(j, "it has ended already"))
	}
	m.endJob(index, j, holdfastv1.JobStatus_JOB_STATUS_CANCELED, nil, c.TimeMs)
	res := &internalv1.CommandResult{JobStatus: j.Status}
	m.keepResult(requestKey("cancel", c.JobId, c.RequestId), j.JobId, res)
	return res
}

// applyResumeJob lets a suspended job go on. With accept_gap reading begins at
// the first offset that the failed attempt named.
func (m *Machine) applyResumeJob(c *internalv1.ResumeJob) *internalv1.CommandResult {
	if r := m.keptResult(requestKey("resume", c.JobId, c.RequestId)); r != nil {
		return r
	}
	j := m.byID[c.JobId]
	switch {
	case j == nil:
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, fmt.Sprintf("no job %q", c.JobId)))
	case j.Status != holdfastv1.JobStatus_JOB_STATUS_SUSPENDED:
		return refusal(jobStateError(j, "only a SUSPENDED job is resumed"))
	case !c.AcceptGap && anyLost(j):
		return refusal(stateGone(j))
	}
	if c.AcceptGap {
		forgetLost(j)
		if p := gapOf(j.Reason); p != nil {
			j.AcceptedGaps = append(j.AcceptedGaps, p)
		}
	}
	j.Status = holdfastv1.JobStatus_JOB_STATUS_RESTARTING
	j.Reason = nil
	j.Restart = &internalv1.RestartState{Restarts: j.Restart.Restarts}
	j.FailedInARow = 0
	m.touch(j)
	res := &internalv1.CommandResult{JobStatus: j.Status}
	m.keepResult(requestKey("resume", c.JobId, c.RequestId), j.JobId, res)
	return res
}

// gapOf reads the place to go on from an OFFSET_OUT_OF_RANGE failure.
func gapOf(e *holdfastv1.Error) *holdfastv1.Position {
	if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE {
		return nil
	}
	part, err1 := strconv.ParseUint(e.Metadata["partition"], 10, 32)
	first, err2 := strconv.ParseInt(e.Metadata["first_offset"], 10, 64)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &holdfastv1.Position{Topic: e.Metadata["topic"], Partition: uint32(part), NextOffset: first, LeaderEpoch: -1}
}

// suspend stops a job with its checkpoints kept. keep, if set, is a subtask
// whose refusal must go on answering its attempt.
func (m *Machine) suspend(index uint64, j jobState, keep subtaskState, reason *holdfastv1.Error) {
	m.abortPending(j, reason, 0)
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		switch {
		case st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED:
		case st == keep:
			st.Status = holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED
			m.setSession(st, "")
		case st.Attempt != 0:
			m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING)
		}
	})
	j.Status = holdfastv1.JobStatus_JOB_STATUS_SUSPENDED
	j.Reason = reason
	m.touch(j)
}

// endJob ends a job for good: tokens die, and its state goes. What becomes of its
// checkpoints settleEnded says.
func (m *Machine) endJob(index uint64, j jobState, status holdfastv1.JobStatus, reason *holdfastv1.Error, timeMs int64) {
	m.abortPending(j, Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE, "the job ended"), timeMs)
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		switch {
		case st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED:
		case st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED && status == holdfastv1.JobStatus_JOB_STATUS_FAILED:
			m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED)
		default:
			m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_CANCELED)
		}
		m.setSession(st, "")
	})
	j.Status, j.Reason, j.EndedMs = status, reason, timeMs
	j.Stopping, j.StopCancels, j.AckParts = false, false, nil
	m.settleEnded(j)
	m.touch(j)
}

// settleStatus derives CREATED, RUNNING and RESTARTING from the subtasks.
func (m *Machine) settleStatus(j jobState) {
	if !assignable(j.Status) {
		return
	}
	all := true
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		all = all && (st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING && !st.Loading || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED)
	})
	switch {
	case all:
		j.Status, j.Reason = holdfastv1.JobStatus_JOB_STATUS_RUNNING, nil
	case j.Status == holdfastv1.JobStatus_JOB_STATUS_RUNNING:
		j.Status = holdfastv1.JobStatus_JOB_STATUS_RESTARTING
	}
}

func assignable(s holdfastv1.JobStatus) bool {
	return s == holdfastv1.JobStatus_JOB_STATUS_CREATED || s == holdfastv1.JobStatus_JOB_STATUS_RUNNING || s == holdfastv1.JobStatus_JOB_STATUS_RESTARTING
}

func ended(s holdfastv1.JobStatus) bool {
	return s == holdfastv1.JobStatus_JOB_STATUS_FINISHED || s == holdfastv1.JobStatus_JOB_STATUS_CANCELED || s == holdfastv1.JobStatus_JOB_STATUS_FAILED
}

func statusName(s holdfastv1.JobStatus) string { return s.String()[len("JOB_STATUS_"):] }

func jobStateError(j jobState, why string) *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE,
		fmt.Sprintf("job %q is %s: %s", j.Spec.Name, statusName(j.Status), why), "status", statusName(j.Status))
}

func forSubtasks(j jobState, f func(vertexState, subtaskState)) {
	for _, v := range j.Vertices {
		for _, st := range v.Subtasks {
			f(v, st)
		}
	}
}

func countSubtasks(j jobState) int {
	n := 0
	for _, v := range j.Vertices {
		n += len(v.Subtasks)
	}
	return n
}

func allFinished(j jobState) bool {
	all := true
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		all = all && st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED
	})
	return all
}
