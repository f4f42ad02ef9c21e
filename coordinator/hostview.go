package coordinator

import (
	"slices"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// RestorePoint is what an attempt begins from.
type RestorePoint struct {
	// CheckpointID is 0 where it begins from empty.
	CheckpointID uint64
	// Handles are those of the same subtask in a checkpoint of the job itself, without
	// the operator state.
	Handles []*holdfastv1.StateHandle
	// Token is the attempt that made them: a copy that it left may stand for them.
	Token uint64
	// OperatorState is that of all subtasks of the chain, in the order of their indexes,
	// in a checkpoint of the job itself; nil for a subtask without any.
	OperatorState []*holdfastv1.StateHandle
	// From is set where the job's restore is the restore point, and nil where it is a
	// checkpoint of the job itself.
	From *internalv1.Restore
}

// RestorePointOf returns what the current attempt of a subtask begins from; false
// if that is over and forgotten. A home that has state of its origin keeps that
// instead. Handles are shared with the machine and must not be changed.
func (m *Machine) RestorePointOf(subtask uint64) (RestorePoint, bool) {
	ref, ok := m.bySubtask[subtask]
	if !ok || ref.st.Attempt == 0 {
		return RestorePoint{}, false
	}
	j, st := ref.job, ref.st
	switch {
	case st.RestoredCheckpoint == 0:
		return RestorePoint{}, true
	case fromRestore(j, st):
		return RestorePoint{CheckpointID: st.RestoredCheckpoint, From: proto.CloneOf(j.Restore)}, true
	}
	c := remembered(j, st.RestoredCheckpoint)
	if c == nil || !c.Retained {
		return RestorePoint{}, false
	}
	a := ackOf(c, subtask)
	rp := RestorePoint{CheckpointID: c.Id, Handles: BackendParts(a.GetHandles()), Token: a.GetFencingToken()}
	for _, x := range ref.vertex.Subtasks {
		rp.OperatorState = append(rp.OperatorState, OperatorStatePart(ackOf(c, x.Id).GetHandles()))
	}
	return rp, true
}

// OperatorStateLimitOf bounds the operator state of a subtask of a job, in bytes.
func (m *Machine) OperatorStateLimitOf(jobID string) int {
	return OperatorStateLimit(m.byID[jobID].GetSpec().GetStateBackend().GetName())
}

// OperatorStatesOf lists the operator states of a subtask's chain.
func (m *Machine) OperatorStatesOf(subtask uint64) []DeclaredOperatorState {
	ref, ok := m.bySubtask[subtask]
	if !ok {
		return nil
	}
	return operatorStates(ref.job, ref.vertex)
}

// BaseOf returns the checkpoint whose files the next ack of a subtask may share, 0
// for none. Handles are shared with the machine and must not be changed.
func (m *Machine) BaseOf(subtask uint64) (id uint64, handles []*holdfastv1.StateHandle) {
	ref, ok := m.bySubtask[subtask]
	if !ok {
		return 0, nil
	}
	c := completedCheckpoint(ref.job)
	if c == nil || !c.Retained {
		return 0, nil
	}
	return c.Id, BackendParts(ackOf(c, subtask).GetHandles())
}

// SpaceOf describes the keyed state of a subtask.
func (m *Machine) SpaceOf(subtask uint64) (Space, bool) {
	ref, ok := m.bySubtask[subtask]
	if !ok {
		return Space{}, false
	}
	return spaceOf(ref.job, ref.vertex, ref.st), true
}

// Deletion is what of a job's files is decided to go. Whoever deletes it says so
// with FilesDeleted.
type Deletion struct {
	JobID string
	// Directory is the checkpoint directory of the job's specification; below it the
	// job has the directory <job id>.
	Directory string
	// Files are relative to the job's directory. One that ends with a slash is a
	// directory with everything in it.
	Files []string
	// All: the whole directory of the job.
	All bool
	// Restored is the directory of a snapshot that the job claimed, "" for none.
	Restored string
}

// Deletions lists what is to be deleted, by job.
func (m *Machine) Deletions() []Deletion {
	var out []Deletion
	for _, j := range m.jobs {
		d := Deletion{JobID: j.JobId, Directory: j.Spec.Checkpoint.GetDirectory(), Files: slices.Clone(j.Deletions)}
		// A job that has ended is read for the last time by what is still written.
		d.All = j.DeleteDirectory && !slices.ContainsFunc(j.History, pinned)
		if j.DeleteRestored {
			d.Restored = j.Restore.GetFrom().GetPath()
		}
		if d.All || len(d.Files) > 0 || d.Restored != "" {
			out = append(out, d)
		}
	}
	return out
}

// Export is a checkpoint that is to be written to a directory.
type Export struct {
	JobID        string
	CheckpointID uint64
	// Savepoint: into a directory of its own below SavepointDirectory. Else its
	// _metadata, and what memory has of it, into its own directory.
	Savepoint          bool
	SavepointDirectory string
	// Backend and Directory are those of the job.
	Backend, Directory string
}

// Exports lists what is to be written, the newest of a job first: of what is
// retained only, so an export that is not listed any more is given up.
func (m *Machine) Exports() []Export {
	var out []Export
	for _, j := range m.jobs {
		for i := len(j.History) - 1; i >= 0; i-- {
			c := j.History[i]
			e := Export{JobID: j.JobId, CheckpointID: c.Id, Backend: j.Spec.StateBackend.GetName(), Directory: j.Spec.Checkpoint.GetDirectory()}
			if metadataDue(j, c) {
				out = append(out, e)
			}
			if pinned(c) {
				e.Savepoint, e.SavepointDirectory = true, c.SavepointDirectory
				out = append(out, e)
			}
		}
	}
	return out
}

// SavepointOutcome is where the savepoint of a checkpoint is written, "" if it has
// failed. known is false until one of the two stands in the log, and for what is not
// remembered any more. Once known it never changes.
func (m *Machine) SavepointOutcome(jobID string, checkpoint uint64) (path string, known bool) {
	j := m.byID[jobID]
	if j == nil {
		return "", false
	}
	c := remembered(j, checkpoint)
	return c.GetSavepointPath(), c.GetSavepointPath() != "" || c.GetExportError() != nil
}

// Snapshot is a completed checkpoint with all that its metadata needs.
type Snapshot struct {
	JobID, JobName string
	Spec           *holdfastv1.JobSpec
	// Checkpoint has the handles. They are shared with the machine and must not be
	// changed.
	Checkpoint *holdfastv1.Checkpoint
	Vertices   []SnapshotVertex
}

// SnapshotVertex is a chain of operators in a Snapshot.
type SnapshotVertex struct {
	// OperatorUID is the source; Chain names all operators, it first.
	OperatorUID            string
	Chain                  []string
	Parallelism, KeyGroups uint32
	CoPartitioned          bool
	StateIDs               []*holdfastv1.StateId
	Subtasks               []SubtaskRange
	// Spaces describe the state of each subtask.
	Spaces []Space
}

// SnapshotOf returns a completed checkpoint that is retained.
func (m *Machine) SnapshotOf(jobID string, id uint64) (*Snapshot, bool) {
	j := m.byID[jobID]
	if j == nil {
		return nil, false
	}
	c := remembered(j, id)
	if c == nil || !c.Retained {
		return nil, false
	}
	out := &Snapshot{JobID: j.JobId, JobName: j.Spec.Name, Spec: proto.CloneOf(j.Spec), Checkpoint: withHandles(c)}
	for _, v := range j.Vertices {
		sv := SnapshotVertex{
			OperatorUID: v.OperatorUid, Chain: slices.Clone(v.Chain), Parallelism: v.Parallelism, KeyGroups: v.KeyGroups, CoPartitioned: v.CoPartitioned,
		}
		for _, s := range v.StateIds {
			sv.StateIDs = append(sv.StateIDs, proto.CloneOf(s))
		}
		for _, st := range v.Subtasks {
			sv.Subtasks = append(sv.Subtasks, SubtaskRange{st.Id, st.KeyGroupStart, st.KeyGroupEnd})
			sv.Spaces = append(sv.Spaces, spaceOf(j, v, st))
		}
		out.Vertices = append(out.Vertices, sv)
	}
	return out, true
}

// withHandles clones a checkpoint but shares its handles.
func withHandles(c *holdfastv1.Checkpoint) *holdfastv1.Checkpoint {
	out := withoutHandles(c)
	for i, a := range c.Acks {
		out.Acks[i].Handles = slices.Clone(a.Handles)
	}
	return out
}
