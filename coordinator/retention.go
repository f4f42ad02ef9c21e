package coordinator

import (
	"fmt"
	"slices"
	"strings"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// subsume lets go of the completed checkpoints beyond the retained number, the
// oldest first. The snapshot that a job claimed is the oldest of all.
func (m *Machine) subsume(j jobState) {
	retained := uint32(0)
	for i := len(j.History) - 1; i >= 0; i-- {
		c := j.History[i]
		if !c.Retained {
			continue
		}
		if retained++; retained > j.Spec.Checkpoint.NumRetained && !pinned(c) {
			m.release(j, c)
		}
	}
	if retained >= j.Spec.Checkpoint.NumRetained {
		subsumeRestored(j)
	}
}

// pinned tells whether a savepoint of this checkpoint is still to be written.
func pinned(c *holdfastv1.Checkpoint) bool {
	return c.Retained && c.Kind == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT && c.SavepointPath == "" && c.ExportError == nil
}

// release gives up the state of a checkpoint: that of the log at once, files by an
// entry of their own that says they are gone.
func (m *Machine) release(j jobState, c *holdfastv1.Checkpoint) {
	m.endRetention(j, c)
	if j.Spec.Checkpoint.Directory != "" {
		addDeletions(j, c)
	}
	dropHandles(c)
	c.ExternalPath = ""
}

// addDeletions decides the deletion of what a checkpoint had for itself: its
// directory, and the shared files that nothing else needs.
func addDeletions(j jobState, c *holdfastv1.Checkpoint) {
	needed := neededFiles(j)
	l := newDeletionList(j)
	for _, a := range c.Acks {
		for _, h := range a.Handles {
			if strings.HasPrefix(h.File, SharedDir) && !isNeeded(needed, h.File) {
				l.add(h.File)
			}
		}
	}
	l.add(CheckpointDir(c.Id))
}

// deletionList adds to what is to be deleted of a job. The list may be long, and so
// may be what one checkpoint adds: each file is looked up in a set.
type deletionList struct {
	j    jobState
	have map[string]bool
}

func newDeletionList(j jobState) *deletionList {
	l := &deletionList{j: j, have: make(map[string]bool, len(j.Deletions))}
	for _, f := range j.Deletions {
		l.have[f] = true
	}
	return l
}

// add adds a file behind the others, once.
func (l *deletionList) add(file string) {
	if len(l.j.Deletions) < MaxDeletions && !l.have[file] {
		l.have[file] = true
		l.j.Deletions = append(l.j.Deletions, file)
	}
}

// neededFiles are those that retained checkpoints and finished subtasks name. What
// acks of the pending one share is among them: its base is retained.
func neededFiles(j jobState) map[string]bool {
	needed := map[string]bool{}
	add := func(hs []*holdfastv1.StateHandle) {
		for _, h := range hs {
			needed[h.File] = true
		}
	}
	for _, c := range j.History {
		if c.Retained {
			for _, a := range c.Acks {
				add(a.Handles)
			}
		}
	}
	for _, a := range j.Pending.GetAcks() {
		add(a.Handles)
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) { add(st.FinishedHandles) })
	return needed
}

// dropHandles leaves of a checkpoint what people look at.
func dropHandles(c *holdfastv1.Checkpoint) {
	for _, a := range c.Acks {
		a.Handles = nil
	}
}

// applyFilesDeleted takes files off the list of what is to be deleted.
func (m *Machine) applyFilesDeleted(c *internalv1.FilesDeleted) *internalv1.CommandResult {
	j := m.byID[c.JobId]
	if j == nil {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, fmt.Sprintf("no job %q", c.JobId)))
	}
	gone := map[string]bool{}
	for _, f := range c.Files {
		gone[f] = true
	}
	j.Deletions = slices.DeleteFunc(j.Deletions, func(f string) bool { return gone[f] })
	if c.Directory && j.DeleteDirectory {
		j.DeleteDirectory, j.Deletions = false, nil
	}
	if c.Restored {
		j.DeleteRestored = false
	}
	m.touch(j)
	return &internalv1.CommandResult{}
}

// keepsCheckpoints tells whether the checkpoints of a job that has ended stay, as
// Flink's retention has it: never those of a job that came to its own end.
func keepsCheckpoints(j jobState) bool {
	switch j.Spec.Checkpoint.GetRetention() {
	case holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION:
		return j.Status != holdfastv1.JobStatus_JOB_STATUS_FINISHED
	case holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_DELETE_ON_CANCELLATION:
		return j.Status == holdfastv1.JobStatus_JOB_STATUS_FAILED
	}
	return false
}

// settleEnded decides what of a job that has ended goes, and again whenever
// something of it was written: what a person was promised is written first.
func (m *Machine) settleEnded(j jobState) {
	keep := keepsCheckpoints(j)
	kept, waits := 0, false
	for _, c := range j.History {
		if c.Retained && !keep && !pinned(c) {
			c.Retained = false
			m.dropVersion(j, c.Id)
			dropHandles(c)
			c.ExternalPath = ""
		}
		if c.Retained {
			kept++
			waits = waits || pinned(c) || metadataDue(j, c)
		}
	}
	if !keep {
		subsumeRestored(j)
	}
	if (!keep || kept == 0) && j.Spec.Checkpoint.GetDirectory() != "" && !j.DeleteDirectory {
		j.DeleteDirectory, j.Deletions = true, nil
	}
	if waits {
		return
	}
	for _, c := range j.History {
		dropHandles(c) // their metadata has them
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		st.FinishedHandles = nil
		if !onHost(j) {
			m.keyed.Drop(st.Id)
		}
	})
}

// outstanding tells whether files of a job are still to be written or deleted.
func outstanding(j jobState) bool {
	return j.DeleteDirectory || j.DeleteRestored || len(j.Deletions) > 0 ||
		slices.ContainsFunc(j.History, func(c *holdfastv1.Checkpoint) bool { return pinned(c) || metadataDue(j, c) })
}

// trimEnded forgets the oldest ended jobs beyond the bound.
func (m *Machine) trimEnded() {
	all, settled := 0, 0
	for _, j := range m.jobs {
		if ended(j.Status) {
			all++
			if !outstanding(j) {
				settled++
			}
		}
	}
	if settled <= MaxEndedJobs && all <= 2*MaxEndedJobs {
		return
	}
	kept := make([]jobState, 0, len(m.jobs))
	for _, j := range m.jobs {
		if ended(j.Status) && (all > 2*MaxEndedJobs || settled > MaxEndedJobs && !outstanding(j)) {
			all--
			if !outstanding(j) {
				settled--
			}
			m.forget(j)
			continue
		}
		kept = append(kept, j)
	}
	m.jobs = kept
}

func (m *Machine) forget(j jobState) {
	m.unindex(j)
	if !onHost(j) {
		forSubtasks(j, func(_ vertexState, st subtaskState) { m.keyed.Drop(st.Id) })
	}
}
