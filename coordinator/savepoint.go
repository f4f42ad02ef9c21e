package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// beginName tells apart the calls that begin a checkpoint.
func beginName(c *internalv1.BeginCheckpoint) string {
	switch {
	case c.Then > holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE:
		return "stop"
	case c.Kind == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT:
		return "savepoint"
	}
	return "begin"
}

// savepointDirectory tells where the savepoint goes that a command begins; "" for a
// checkpoint.
func savepointDirectory(j jobState, c *internalv1.BeginCheckpoint) (string, *holdfastv1.Error) {
	_, known := holdfastv1.BarrierThen_name[int32(c.Then)]
	savepoint := c.Kind == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT
	switch {
	case !known, !savepoint && (c.Then > holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE || c.SavepointDirectory != ""):
		return "", Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "a job is stopped with a savepoint, and only that has a directory of its own", "field", "then")
	case !savepoint:
		return "", nil
	case c.SavepointDirectory != "":
		return NormalizeDirectory(c.SavepointDirectory)
	case j.Spec.Checkpoint.SavepointDirectory == "":
		return "", Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			fmt.Sprintf("job %q has no savepoint directory; name one, or set execution.checkpointing.savepoint-dir", j.Spec.Name), "field", "directory")
	}
	return j.Spec.Checkpoint.SavepointDirectory, nil
}

// mayBeginSavepoint bounds the savepoints that wait to be written: each keeps its
// checkpoint.
func mayBeginSavepoint(j jobState) *holdfastv1.Error {
	waiting := 0
	for _, c := range j.History {
		if pinned(c) {
			waiting++
		}
	}
	if waiting < MaxSavepoints {
		return nil
	}
	return notApplied(holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED,
		fmt.Sprintf("%d savepoints of job %q are still to be written; wait for them (`holdfast checkpoints` shows which)", waiting, j.Spec.Name))
}

// stops tells whether a job ends with a checkpoint.
func stops(c *holdfastv1.Checkpoint) bool {
	return c.GetThen() > holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE
}

// stopped tells whether the last checkpoint of a job is completed and only its
// savepoint is to be written: nothing is processed any more.
func stopped(j jobState) bool { return j.Stopping && j.Pending == nil }

func stopStatus(j jobState) holdfastv1.JobStatus {
	if j.StopCancels {
		return holdfastv1.JobStatus_JOB_STATUS_CANCELED
	}
	return holdfastv1.JobStatus_JOB_STATUS_FINISHED
}

// stopFailed lets a job go on whose savepoint could not be written. Its clients
// stand still behind the cut, so each subtask begins anew from there.
func (m *Machine) stopFailed(index uint64, j jobState) {
	j.Stopping, j.StopCancels = false, false
	if !assignable(j.Status) {
		return
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		if st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING)
		}
	})
	m.settleStatus(j)
}

// OperationOf tells how far what somebody asked for is: a savepoint is done when it
// is written.
func OperationOf(c *holdfastv1.Checkpoint) (holdfastv1.OperationStatus, *holdfastv1.Error) {
	savepoint := c.Kind == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT
	switch {
	case c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED:
		return holdfastv1.OperationStatus_OPERATION_STATUS_FAILED, c.Reason
	case c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING:
		return holdfastv1.OperationStatus_OPERATION_STATUS_IN_PROGRESS, nil
	case savepoint && c.ExportError != nil:
		return holdfastv1.OperationStatus_OPERATION_STATUS_FAILED, c.ExportError
	case savepoint && c.SavepointPath == "":
		return holdfastv1.OperationStatus_OPERATION_STATUS_IN_PROGRESS, nil
	}
	return holdfastv1.OperationStatus_OPERATION_STATUS_COMPLETED, nil
}
