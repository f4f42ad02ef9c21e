package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// metadataDue tells whether the _metadata of a checkpoint is still to be written.
func metadataDue(j jobState, c *holdfastv1.Checkpoint) bool {
	stays := !ended(j.Status) || keepsCheckpoints(j)
	return c.Retained && stays && c.ExternalPath == "" && j.Spec.Checkpoint.GetDirectory() != ""
}

// applyRecordExport records what became of an export. The checkpoint stands
// whatever that is.
func (m *Machine) applyRecordExport(index uint64, c *internalv1.RecordExport) *internalv1.CommandResult {
	j := m.byID[c.JobId]
	if j == nil {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, fmt.Sprintf("no job %q", c.JobId)))
	}
	chk := remembered(j, c.CheckpointId)
	switch {
	case chk == nil || chk.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED:
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND, fmt.Sprintf("checkpoint %d of job %q is not completed", c.CheckpointId, j.Spec.Name)))
	case (c.Path == "") == (c.Error == nil):
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "an export has either a path or an error"))
	}
	if c.Savepoint {
		return m.savepointWritten(index, j, chk, c)
	}
	return m.metadataWritten(j, chk, c)
}

// metadataWritten takes the export of a checkpoint itself. One that failed stays
// due; one that comes when the checkpoint is subsumed goes with it.
func (m *Machine) metadataWritten(j jobState, chk *holdfastv1.Checkpoint, c *internalv1.RecordExport) *internalv1.CommandResult {
	switch {
	case !chk.Retained:
		if !ended(j.Status) && c.Error == nil {
			newDeletionList(j).add(CheckpointDir(chk.Id))
			m.touch(j)
		}
		return &internalv1.CommandResult{}
	case chk.ExternalPath != "":
		return &internalv1.CommandResult{}
	}
	chk.ExternalPath = c.Path
	if chk.Kind != holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT {
		chk.ExportError = c.Error
	}
	if ended(j.Status) && c.Error == nil {
		m.settleEnded(j)
	}
	m.touch(j)
	return &internalv1.CommandResult{}
}

// savepointWritten takes the end of a savepoint, once. With it a job that was
// stopped ends, or goes on if there is no savepoint.
func (m *Machine) savepointWritten(index uint64, j jobState, chk *holdfastv1.Checkpoint, c *internalv1.RecordExport) *internalv1.CommandResult {
	switch {
	case chk.Kind != holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT:
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, fmt.Sprintf("checkpoint %d of job %q is no savepoint", chk.Id, j.Spec.Name)))
	case chk.SavepointPath != "" || chk.ExportError != nil:
		return &internalv1.CommandResult{}
	}
	chk.SavepointPath, chk.ExportError = c.Path, c.Error
	m.touch(j)
	switch {
	case ended(j.Status):
		m.settleEnded(j)
	case stops(chk) && j.Stopping && c.Error == nil:
		m.endJob(index, j, stopStatus(j), nil, c.TimeMs)
	case stops(chk) && j.Stopping:
		m.stopFailed(index, j)
		m.subsume(j)
	default:
		m.subsume(j)
	}
	return &internalv1.CommandResult{}
}
