package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// applyBegin begins a checkpoint. The id is taken here, never proposed, so that
// ids rise and are used once whoever leads (invariant 3).
func (m *Machine) applyBegin(c *internalv1.BeginCheckpoint) *internalv1.CommandResult {
	key := requestKey(beginName(c), c.JobId, c.RequestId)
	if r := m.keptResult(key); r != nil {
		return r
	}
	j := m.byID[c.JobId]
	if e := mayBegin(j, c.JobId); e != nil {
		return refusal(e)
	}
	directory, e := savepointDirectory(j, c)
	if e == nil && directory != "" {
		e = mayBeginSavepoint(j)
	}
	if e != nil {
		return refusal(e)
	}
	id := j.NextCheckpointId
	j.NextCheckpointId++
	j.Counts.Triggered++
	j.Pending = &holdfastv1.Checkpoint{
		Id: id, Status: holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING,
		Trigger: c.Trigger, TriggeredMs: c.TimeMs, Subtasks: uint32(countSubtasks(j)),
		Kind: c.Kind, Then: c.Then, SavepointDirectory: directory,
	}
	j.PendingInlineBytes = standingInline(j)
	m.releaseAtBegin(j)
	j.Stopping, j.StopCancels = stops(j.Pending), stops(j.Pending) && c.Cancel
	m.touch(j)
	res := &internalv1.CommandResult{CheckpointId: id}
	m.keepResult(key, j.JobId, res)
	forSubtasks(j, func(v vertexState, st subtaskState) {
		if st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
			m.ackFinished(subtaskRef{j, v, st}, c.TimeMs)
		}
	})
	return res
}

func mayBegin(j jobState, id string) *holdfastv1.Error {
	switch {
	case j == nil:
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, fmt.Sprintf("no job %q", id))
	case !checkpointsEnabled(j):
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINTS_DISABLED,
			fmt.Sprintf("job %q runs without checkpoints; enable them in the program (EnableCheckpointing)", j.Spec.Name))
	case blocksBegin(j):
		return notApplied(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING,
			fmt.Sprintf("checkpoint %d of job %q is pending; one runs at a time", j.Pending.Id, j.Spec.Name),
			"checkpoint", fmt.Sprint(j.Pending.Id), "job_id", j.JobId)
	case j.Status != holdfastv1.JobStatus_JOB_STATUS_RUNNING:
		return jobStateError(j, "a checkpoint needs every subtask running")
	case j.Stopping:
		return jobStateError(j, "it is being stopped with a savepoint")
	}
	return nil
}

// ack takes the contribution of one subtask to the pending checkpoint: the
// state of this moment is its version n, and handles are its operator state. The first
// ack stands. times are what its host measured, if it did.
func (m *Machine) ack(ref subtaskRef, positions []*holdfastv1.Position, handles []*holdfastv1.StateHandle, timeMs int64, times *holdfastv1.SubtaskCheckpointTimes) {
	p := ref.job.Pending
	if m.ackStands(p, ref.st.Id) {
		m.metrics.countUnchanged("ready", reasonSecondAck)
		return
	}
	m.keyed.Freeze(ref.st.Id, p.Id)
	m.addAck(ref, &holdfastv1.SubtaskAck{
		AckedMs: timeMs, Positions: positions, StateBytes: m.keyed.Bytes(ref.st.Id) + inlineBytes(handles), FlushedBytes: ref.st.FlushedBytes, Times: times,
		Handles: handles,
	})
}

// ackFinished lets the end of a subtask stand for it in the pending checkpoint.
func (m *Machine) ackFinished(ref subtaskRef, timeMs int64) {
	switch {
	case !onHost(ref.job):
		m.ack(ref, ref.st.FinishedPositions, ref.st.FinishedHandles, timeMs, nil)
	case !acked(ref.job.Pending, ref.st.Id):
		m.addAck(ref, &holdfastv1.SubtaskAck{
			AckedMs: timeMs, Positions: ref.st.FinishedPositions, StateBytes: ref.st.FinishedBytes, Handles: ref.st.FinishedHandles,
		})
	}
}

// addAck adds what a subtask contributed to the pending checkpoint. The last one
// completes it.
func (m *Machine) addAck(ref subtaskRef, a *holdfastv1.SubtaskAck) {
	p := ref.job.Pending
	a.SubtaskId, a.OperatorUid, a.SubtaskIndex, a.FencingToken = ref.st.Id, ref.vertex.OperatorUid, ref.st.Index, ref.st.FencingToken
	p.Acks = append(p.Acks, a)
	ref.st.FlushedBytes = 0
	m.touch(ref.job)
	if len(p.Acks) == countSubtasks(ref.job) {
		m.complete(ref.job, a.AckedMs)
	}
}

// complete makes the pending checkpoint the restart point. It subsumes the
// older ones beyond the retained number.
func (m *Machine) complete(j jobState, timeMs int64) {
	p := j.Pending
	j.Pending, j.PendingInlineBytes = nil, 0
	p.Status = holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED
	p.EndedMs = timeMs
	p.Retained = true
	m.metrics.duration.Observe(float64(timeMs-p.TriggeredMs) / 1000)
	j.LatestCompleted = p.Id
	j.Counts.Completed++
	j.AcceptedGaps, j.FailedInARow = nil, 0
	summarize(j, p)
	j.History = append(j.History, p)
	dropParts(j, func(x *internalv1.AckParts) bool { return x.CheckpointId == p.Id })
	m.subsume(j)
	trimHistory(j)
}

// applyAbort gives a checkpoint up, and counts it: more failures in a row than
// the job tolerates restart it from the newest completed one. As in Flink only
// this counts; a checkpoint that ended with an attempt or with its job does not,
// nor one that waits for a subtask which is gone.
func (m *Machine) applyAbort(index uint64, c *internalv1.AbortCheckpoint) *internalv1.CommandResult {
	j := m.byID[c.JobId]
	if j == nil || j.Pending == nil || j.Pending.Id != c.CheckpointId {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED, "the checkpoint is not pending"))
	}
	m.abortPending(j, c.Reason, c.TimeMs)
	if j.Status != holdfastv1.JobStatus_JOB_STATUS_RUNNING {
		// It expired because a subtask is gone, which is no failure of checkpoints.
		return &internalv1.CommandResult{}
	}
	j.FailedInARow++
	if failed := j.FailedInARow; failed > j.Spec.Checkpoint.TolerableFailedCheckpoints {
		// As in Flink the restarted job may fail as many again.
		j.FailedInARow = 0
		m.failAll(index, j, Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED,
			fmt.Sprintf("%d checkpoints failed one after the other, %d are tolerated (execution.checkpointing.tolerable-failed-checkpoints); the last one: %s",
				failed, j.Spec.Checkpoint.TolerableFailedCheckpoints, c.Reason.GetMessage()),
			"checkpoint", fmt.Sprint(c.CheckpointId)), c.TimeMs, c.Jitter)
	}
	return &internalv1.CommandResult{}
}

// abortPending decides the pending checkpoint, if there is one, as aborted.
func (m *Machine) abortPending(j jobState, reason *holdfastv1.Error, timeMs int64) {
	p := j.Pending
	if p == nil {
		return
	}
	j.Pending, j.PendingInlineBytes = nil, 0
	p.Status = holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED
	p.EndedMs = timeMs
	p.Reason = reason
	if stops(p) {
		j.Stopping, j.StopCancels = false, false
	}
	j.Counts.Aborted++
	j.History = append(j.History, p)
	m.dropVersion(j, p.Id)
	dropHandles(p)
	dropParts(j, func(x *internalv1.AckParts) bool { return x.CheckpointId == p.Id })
	forSubtasks(j, func(_ vertexState, st subtaskState) { st.LastAborted = p.Id })
	trimHistory(j)
	m.touch(j)
}

func (m *Machine) dropVersion(j jobState, id uint64) {
	if onHost(j) {
		return
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) { m.keyed.DropVersion(st.Id, id) })
}

// trimHistory forgets the oldest decided checkpoints that are not retained. Savepoints
// are counted by themselves: one is let go when it is written, behind many newer
// checkpoints perhaps, and whoever waits for it has yet to be told.
func trimHistory(j jobState) {
	savepoints := 0
	for _, c := range j.History {
		if forgettableSavepoint(c) {
			savepoints++
		}
	}
	excess := len(j.History) - savepoints - MaxHistory - int(j.Spec.Checkpoint.NumRetained)
	savepoints -= MaxSavepoints
	kept := j.History[:0]
	for _, c := range j.History {
		left := &excess
		if forgettableSavepoint(c) {
			left = &savepoints
		}
		if *left > 0 && !c.Retained {
			*left--
			continue
		}
		kept = append(kept, c)
	}
	clear(j.History[len(kept):])
	j.History = kept
}

func forgettableSavepoint(c *holdfastv1.Checkpoint) bool {
	return !c.Retained && c.Kind == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT
}

// completedCheckpoint returns the newest completed checkpoint, nil if none.
func completedCheckpoint(j jobState) *holdfastv1.Checkpoint {
	for i := len(j.History) - 1; i >= 0; i-- {
		if j.History[i].Id == j.LatestCompleted && j.History[i].Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
			return j.History[i]
		}
	}
	return nil
}

// remembered finds the pending checkpoint or a decided one by its id.
func remembered(j jobState, id uint64) *holdfastv1.Checkpoint {
	if j.Pending.GetId() == id {
		return j.Pending
	}
	for _, c := range j.History {
		if c.Id == id {
			return c
		}
	}
	return nil
}

func checkpointsEnabled(j jobState) bool { return j.Spec.GetCheckpoint().GetIntervalMs() > 0 }
