package coordinator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Everything a view returns is the caller's own: no later Apply changes it.

// SubtaskView is what a host needs to know of a subtask to serve its stream.
type SubtaskView struct {
	ID                    uint64
	JobID                 string
	JobStatus             holdfastv1.JobStatus
	Status                holdfastv1.SubtaskStatus
	Attempt, Token        uint64
	LastSeq               uint64
	Refusal               *holdfastv1.Error
	SessionID, InstanceID string
	// NodeID is the node that has the attempt.
	NodeID             string
	CheckpointsEnabled bool
	// Pending is the checkpoint that waits for this subtask's ack, nil if none.
	Pending *PendingView
	// LatestCompleted is the newest completed checkpoint of the job.
	LatestCompleted uint64
	// LastAborted is the newest aborted checkpoint of this attempt, with its reason.
	LastAborted   uint64
	AbortedReason *holdfastv1.Error
	// Backend is where the working state is; OnHost: on the host of the subtask.
	Backend string
	OnHost  bool
	// RestoredCheckpoint is what the attempt begins from, 0 for empty.
	RestoredCheckpoint uint64
	// Loading: the state of the attempt is not whole yet, and the client is not told
	// of it. LoadedChunks of it are there.
	Loading      bool
	LoadedChunks uint64
	// Home has the state of a subtask without checkpoints; the zero Home: none yet.
	Home Home
}

// PendingView is a checkpoint that is under way.
type PendingView struct {
	ID, Base    uint64
	TriggeredMs int64
	Kind        holdfastv1.CheckpointKind
	Then        holdfastv1.BarrierThen
}

// SubtaskOfSession returns the subtask that a stream holds.
func (m *Machine) SubtaskOfSession(session string) (SubtaskView, bool) {
	id, ok := m.bySession[session]
	if !ok {
		return SubtaskView{}, false
	}
	return m.Subtask(id)
}

// SubtaskOfInstance returns the subtask of a job whose current attempt belongs
// to a slot; one that has finished only if the slot has no other.
func (m *Machine) SubtaskOfInstance(jobID, instance string) (SubtaskView, bool) {
	j := m.byID[jobID]
	if j == nil || instance == "" {
		return SubtaskView{}, false
	}
	var found uint64
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		finished := st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED
		if st.InstanceId == instance && (found == 0 || !finished) {
			found = st.Id
		}
	})
	return m.Subtask(found)
}

// Subtask returns one subtask by its id.
func (m *Machine) Subtask(id uint64) (SubtaskView, bool) {
	ref, ok := m.bySubtask[id]
	if !ok {
		return SubtaskView{}, false
	}
	j, st := ref.job, ref.st
	v := SubtaskView{
		ID: st.Id, JobID: j.JobId, JobStatus: j.Status, Status: st.Status, Attempt: st.Attempt, Token: st.FencingToken,
		LastSeq: st.LastSeq, Refusal: st.Refusal, SessionID: st.SessionId, InstanceID: st.InstanceId, NodeID: st.NodeId,
		CheckpointsEnabled: checkpointsEnabled(j), LatestCompleted: j.LatestCompleted, LastAborted: st.LastAborted,
		Backend: j.Spec.StateBackend.GetName(), OnHost: onHost(j), RestoredCheckpoint: st.RestoredCheckpoint,
		Loading: st.Loading, LoadedChunks: st.LoadedChunks,
		Home: Home{NodeID: st.HomeNodeId, Incarnation: st.HomeIncarnation, Origin: st.HomeOrigin, Lost: st.HomeLost},
	}
	if p := j.Pending; p != nil && !acked(p, st.Id) {
		v.Pending = &PendingView{ID: p.Id, Base: j.LatestCompleted, TriggeredMs: p.TriggeredMs, Kind: p.Kind, Then: p.Then}
	}
	for i := len(j.History) - 1; i >= 0 && v.LastAborted != 0; i-- {
		if j.History[i].Id == v.LastAborted {
			v.AbortedReason = j.History[i].Reason
			break
		}
	}
	return v, true
}

func acked(p *holdfastv1.Checkpoint, subtask uint64) bool {
	for _, a := range p.Acks {
		if a.SubtaskId == subtask {
			return true
		}
	}
	return false
}

// AssignFrame builds the message that gives a subtask to its stream.
func (m *Machine) AssignFrame(id uint64) *holdfastv1.Assign {
	ref, ok := m.bySubtask[id]
	if !ok {
		return nil
	}
	j, v, st := ref.job, ref.vertex, ref.st
	a := &holdfastv1.Assign{
		FencingToken: st.FencingToken, Attempt: st.Attempt, OperatorUid: v.OperatorUid, SubtaskIndex: st.Index,
		Parallelism: v.Parallelism, MaxParallelism: v.KeyGroups, KeyGroupStart: st.KeyGroupStart, KeyGroupEnd: st.KeyGroupEnd,
		StateIds: v.StateIds, RestoredCheckpointId: st.RestoredCheckpoint, LatestCompletedId: j.LatestCompleted,
		CheckpointsEnabled: checkpointsEnabled(j), CoPartitioned: v.CoPartitioned,
	}
	for _, s := range startSplits(j, v, st) {
		a.Splits = append(a.Splits, proto.CloneOf(s))
	}
	return a
}

// JobID finds a job by its id or, newest first, by its name.
func (m *Machine) JobID(job string) (string, *holdfastv1.Error) {
	if j := m.byID[job]; j != nil {
		return j.JobId, nil
	}
	if j := m.byName[job]; j != nil {
		return j.JobId, nil
	}
	return "", Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, "no job "+quote(job)+"; `holdfast list` shows the jobs")
}

// JobStatusOf returns the status of a job and the reason for it.
func (m *Machine) JobStatusOf(id string) (status holdfastv1.JobStatus, reason *holdfastv1.Error, ok bool) {
	j := m.byID[id]
	if j == nil {
		return 0, nil, false
	}
	return j.Status, j.Reason, true
}

// Ended tells whether a job has ended for good.
func Ended(s holdfastv1.JobStatus) bool { return ended(s) }

// Undiscovered returns the sources of a job whose splits nobody has recorded,
// and whether their start offsets must be resolved.
func (m *Machine) Undiscovered(jobID string) (uids []string, resolve bool) {
	j := m.byID[jobID]
	if j == nil || !assignable(j.Status) {
		return nil, false
	}
	for _, v := range j.Vertices {
		if !v.SplitsRecorded {
			uids = append(uids, v.OperatorUid)
		}
	}
	return uids, checkpointsEnabled(j)
}

// StateOf finds a named state: the subtasks that hold it, its number and type.
func (m *Machine) StateOf(sel *holdfastv1.StateSelector) (StateView, *holdfastv1.Error) {
	id, e := m.JobID(sel.GetJob())
	if e != nil {
		return StateView{}, e
	}
	j := m.byID[id]
	for _, v := range j.Vertices {
		for _, s := range v.StateIds {
			if s.OperatorUid != sel.OperatorUid || s.StateName != sel.StateName {
				continue
			}
			if e := hasCheckpoint(j, sel.CheckpointId); e != nil {
				return StateView{}, e
			}
			out := StateView{StateID: s.Id, Descriptor: descriptor(j, s), KeyGroups: v.KeyGroups, ByPartition: v.CoPartitioned}
			for _, st := range v.Subtasks {
				out.Subtasks = append(out.Subtasks, SubtaskRange{st.Id, st.KeyGroupStart, st.KeyGroupEnd})
			}
			return out, nil
		}
	}
	return StateView{}, Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND,
		fmt.Sprintf("job %q has no state %s of operator %s; it has: %s", j.Spec.Name, quote(sel.StateName), quote(sel.OperatorUid), stateNames(j)))
}

// OperatorStateOf finds the operator state that a selector names, and its job; nil if
// the operator has none of this name. It is there of retained checkpoints only.
func (m *Machine) OperatorStateOf(sel *holdfastv1.StateSelector) (jobID string, d *holdfastv1.OperatorStateDescriptor, e *holdfastv1.Error) {
	id, e := m.JobID(sel.GetJob())
	if e != nil {
		return "", nil, e
	}
	j := m.byID[id]
	for _, o := range j.Spec.Operators {
		for _, x := range o.OperatorStates {
			if o.Uid == sel.OperatorUid && x.Name == sel.StateName {
				d = proto.CloneOf(x)
			}
		}
	}
	switch {
	case d == nil:
		return "", nil, nil
	case sel.CheckpointId == 0 && !ended(j.Status):
		return "", nil, Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND,
			fmt.Sprintf("the operator state %q of operator %q is in the memory of the operator's process; read it of a checkpoint (--checkpoint ID; `holdfast checkpoints` lists them, the newest completed one is %d)", d.Name, sel.OperatorUid, j.LatestCompleted))
	}
	return id, d, hasCheckpoint(j, sel.CheckpointId)
}

// StateView names where a state is.
type StateView struct {
	StateID     uint32
	Descriptor  *holdfastv1.StateDescriptor
	KeyGroups   uint32
	ByPartition bool
	Subtasks    []SubtaskRange
}

// SubtaskRange is a subtask with its key groups [Start, End).
type SubtaskRange struct {
	ID         uint64
	Start, End uint32
}

func hasCheckpoint(j jobState, id uint64) *holdfastv1.Error {
	if ended(j.Status) {
		return jobStateError(j, "its state is gone")
	}
	if id == 0 {
		return nil
	}
	for _, c := range j.History {
		if c.Id == id && c.Retained {
			return nil
		}
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND,
		fmt.Sprintf("checkpoint %d of job %q is not retained; `holdfast checkpoints` lists what is", id, j.Spec.Name))
}

func stateNames(j jobState) string {
	s := ""
	for _, v := range j.Vertices {
		for _, id := range v.StateIds {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%s of %s", id.StateName, id.OperatorUid)
		}
	}
	for _, o := range j.Spec.Operators {
		for _, d := range o.OperatorStates {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%s of %s", d.Name, o.Uid)
		}
	}
	if s == "" {
		return "none"
	}
	return s
}
