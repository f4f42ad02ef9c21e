package coordinator

import (
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CheckpointIDStep is added to the checkpoint ids of a job when its cluster is
// made anew from a snapshot: the lost cluster went on after the snapshot, and an
// id is used once (invariant 3). At one checkpoint in 10 ms it lasts a year.
const CheckpointIDStep = 1 << 32

// Refound makes the state of a lost cluster that of a new one, whose log goes on
// behind index. Nobody who had anything to do with the lost one may go on where
// he was: what he did after the snapshot is not here. So every attempt ends with
// a token that nobody has, every pending checkpoint is aborted, and the members
// of the lost cluster are forgotten. Jobs, their keyed state, completed
// checkpoints and results of requests stay.
func (m *Machine) Refound(index uint64) {
	m.nodes = nil
	for _, j := range m.jobs {
		if ended(j.Status) {
			continue
		}
		if p := j.Pending; p != nil {
			m.abortPending(j, Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, "the cluster was made anew from a snapshot"), p.TriggeredMs)
		}
		j.NextCheckpointId += CheckpointIDStep
		forSubtasks(j, func(_ vertexState, st subtaskState) {
			switch {
			case st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED:
				// It is done for good, but no stream of the lost cluster may find it.
				st.NodeId, st.InstanceId, st.ProcessId = "", "", ""
				m.setSession(st, "")
			case st.Attempt != 0:
				m.fence(index, st, holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING)
			}
		})
		m.settleStatus(j)
		m.touch(j)
	}
	m.loseHomes(index, 0, Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST, "the cluster was made anew from a snapshot, and the state was on a node of the lost one"),
		func(subtaskState) bool { return true })
}

// SubtasksOf are the ids of a job's subtasks, none of an ended job.
func (m *Machine) SubtasksOf(jobID string) []uint64 {
	j := m.byID[jobID]
	if j == nil || ended(j.Status) {
		return nil
	}
	var ids []uint64
	forSubtasks(j, func(_ vertexState, st subtaskState) { ids = append(ids, st.Id) })
	return ids
}

// Nodes are the ids of the nodes that have a record.
func (m *Machine) Nodes() []string {
	var ids []string
	for _, n := range m.nodes {
		ids = append(ids, n.NodeId)
	}
	return ids
}
