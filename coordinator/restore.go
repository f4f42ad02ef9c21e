package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// maxRestoredID leaves ids for the checkpoints of the job that is restored.
const maxRestoredID = 1 << 62

// checkRestore refuses a snapshot that another job owns. What is in it was checked
// by the node that read it.
func (m *Machine) checkRestore(r *internalv1.Restore) *holdfastv1.Error {
	if r == nil {
		return nil
	}
	path := r.From.GetPath()
	if path == "" || len(r.MetadataSha256) != hashBytes || r.CheckpointId == 0 || r.CheckpointId > maxRestoredID {
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the restore lacks the path, the hash of the metadata or the checkpoint id of a snapshot", "field", "restore")
	}
	owned := func(j jobState, how string) *holdfastv1.Error {
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED,
			fmt.Sprintf("the snapshot %s %s by job %q (%s), which deletes it when it needs it no more; take a savepoint, or cancel that job first", quote(path), how, j.Spec.Name, j.JobId), "job_id", j.JobId)
	}
	for _, j := range m.jobs {
		if j.JobId == r.OwnerJobId && (!ended(j.Status) || j.DeleteDirectory) {
			return owned(j, "is owned")
		}
		if j.Restore.GetFrom().GetPath() != path {
			continue
		}
		switch {
		case claims(j) && (!ended(j.Status) || j.DeleteRestored):
			return owned(j, "was claimed")
		case r.From.ClaimMode == holdfastv1.ClaimMode_CLAIM_MODE_CLAIM && !ended(j.Status) && j.LatestCompleted == 0:
			return Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED,
				fmt.Sprintf("the snapshot %s cannot be claimed: job %q (%s) restores from it and has completed no checkpoint of its own yet", quote(path), j.Spec.Name, j.JobId), "job_id", j.JobId)
		}
	}
	return nil
}

// SnapshotNeeded tells why a snapshot in a directory may not be deleted, nil if it may:
// the job that wrote it goes on (owner, of a checkpoint), or one that was restored from
// it owns it, or has no checkpoint of its own yet.
func (m *Machine) SnapshotNeeded(path, owner string) *holdfastv1.Error {
	for _, j := range m.jobs {
		why := ""
		restored := j.Restore.GetFrom().GetPath() == path
		switch {
		case owner != "" && j.JobId == owner && (!ended(j.Status) || j.DeleteDirectory):
			why = "is a checkpoint of"
		case restored && claims(j) && (!ended(j.Status) || j.DeleteRestored):
			why = "was claimed by"
		case restored && !ended(j.Status) && j.LatestCompleted == 0:
			why = "is what a restart would begin from of"
		default:
			continue
		}
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE,
			fmt.Sprintf("the snapshot %s %s job %q (%s), which is %s; cancel that job first", quote(path), why, j.Spec.Name, j.JobId, statusName(j.Status)), "job_id", j.JobId)
	}
	return nil
}

func claims(j jobState) bool {
	return j.Restore.GetFrom().GetClaimMode() == holdfastv1.ClaimMode_CLAIM_MODE_CLAIM
}

// subsumeRestored lets go of the claimed snapshot of a job, if it has one.
func subsumeRestored(j jobState) {
	if claims(j) && !j.RestoreSubsumed {
		j.RestoreSubsumed, j.DeleteRestored = true, true
	}
}

// beginRestore says what a new attempt begins from. With checkpoints it is the
// newest completed one, and before that what the job was submitted with. Without
// them it is that for the first attempt that gets as far as having it.
func (m *Machine) beginRestore(index uint64, ref subtaskRef) {
	st, j := ref.st, ref.job
	st.LoadedChunks = 0
	switch {
	case checkpointsEnabled(j) && (j.LatestCompleted != 0 || j.Restore == nil):
		st.RestoredCheckpoint, st.Loading = j.LatestCompleted, false
	case checkpointsEnabled(j):
		st.RestoredCheckpoint, st.Loading = j.Restore.CheckpointId, !onHost(j)
	case j.Restore != nil && (st.RestoredAttempt == 0 || st.Loading):
		st.RestoredCheckpoint, st.RestoredAttempt, st.Loading = j.Restore.CheckpointId, index, true
		if !onHost(j) {
			m.rollBack(st, 0)
		}
	default:
		st.RestoredCheckpoint = 0
	}
}

// applyLoad takes a chunk of the state that a subtask begins with. Of a backend on
// hosts only the last one comes, without entries, where a home has it all.
func (m *Machine) applyLoad(index uint64, c *internalv1.LoadState) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	st := ref.st
	switch {
	case st == nil:
		return refusal(jobGone())
	case !tokenIsCurrent(st, c.FencingToken):
		return m.answer(st, fenced(st))
	case c.Chunk <= st.LoadedChunks:
		m.metrics.countUnchanged("load_state", reasonDuplicate)
		return m.answer(st, nil)
	case !st.Loading:
		return m.answer(st, Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the subtask does not begin from a snapshot outside"))
	case c.Chunk != st.LoadedChunks+1:
		return m.answer(st, notApplied(holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP,
			fmt.Sprintf("chunk %d does not follow %d; send again from there", c.Chunk, st.LoadedChunks), "chunk", fmt.Sprint(st.LoadedChunks)))
	case onHost(ref.job) && len(c.Sections) > 0:
		return m.answer(st, Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the state of this job is on its hosts and not in the log"))
	}
	if !onHost(ref.job) {
		if e := m.keyed.Load(c.SubtaskId, c.Sections); e != nil {
			nameState(ref, e)
			m.suspend(index, ref.job, nil, e)
			return m.answer(st, e)
		}
	}
	st.LoadedChunks, st.Loading = c.Chunk, !c.Last
	if c.Last {
		m.settleStatus(ref.job)
		m.touch(ref.job)
	}
	return m.answer(st, nil)
}

func stillLoading() *holdfastv1.Error {
	return notApplied(holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE, "the state of the attempt is still being loaded")
}

// fromRestore tells whether an attempt begins from what the job was submitted with,
// or would, if there is none yet.
func fromRestore(j jobState, st subtaskState) bool {
	switch {
	case j.Restore == nil:
		return false
	case checkpointsEnabled(j):
		return j.LatestCompleted == 0
	}
	return st.RestoredAttempt == 0 || st.RestoredAttempt == st.Attempt
}
