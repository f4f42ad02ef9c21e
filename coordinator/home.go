package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Without checkpoints the state of a subtask whose backend is on hosts belongs to
// the subtask, and one process of one node has it: its home. The first assignment
// makes it. Nothing but the end of that process, or that nobody hears of it, ends it,
// and then the job is suspended: it must never go on from less than it had.

// hasHome tells whether the subtasks of a job have homes.
func hasHome(j jobState) bool { return onHost(j) && !checkpointsEnabled(j) }

// checkHome refuses an assignment to a process that is gone, or to another one than
// the home.
func (m *Machine) checkHome(ref subtaskRef, t *internalv1.AssignTarget) *holdfastv1.Error {
	if !onHost(ref.job) {
		return nil
	}
	if n := m.node(t.NodeId); n == nil || n.Incarnation != t.Incarnation {
		return notApplied(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the process of the node is not the one that is registered", "node", t.NodeId)
	}
	if st := ref.st; hasHome(ref.job) && !isHome(st, t.NodeId, t.Incarnation) {
		return notApplied(holdfastv1.ErrorReason_ERROR_REASON_FENCED,
			fmt.Sprintf("the state of subtask %d of %q is on node %s", st.Index, ref.vertex.OperatorUid, m.nodeName(st.HomeNodeId)), "node", st.HomeNodeId)
	}
	return nil
}

// makeHome makes the target of the first assignment the home.
func makeHome(index uint64, ref subtaskRef, t *internalv1.AssignTarget) {
	if st := ref.st; hasHome(ref.job) && st.HomeNodeId == "" {
		st.HomeNodeId, st.HomeIncarnation, st.HomeOrigin = t.NodeId, t.Incarnation, index
	}
}

// applyLoseHost records that nothing was heard of a process of a node for too long.
// A late entry does not reach homes that were made behind it.
func (m *Machine) applyLoseHost(index uint64, c *internalv1.LoseHost) *internalv1.CommandResult {
	found := m.loseHomes(index, c.TimeMs, c.Error, func(st subtaskState) bool {
		return st.HomeNodeId == c.NodeId && st.HomeIncarnation == c.Incarnation && st.HomeOrigin <= c.Through
	})
	if !found {
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "no subtask has its state there"))
	}
	return &internalv1.CommandResult{}
}

// loseHomes marks the homes that match as lost, fences their subtasks and suspends
// their jobs, whatever state those are in.
func (m *Machine) loseHomes(index uint64, timeMs int64, why *holdfastv1.Error, match func(subtaskState) bool) (found bool) {
	for _, j := range m.jobs {
		if ended(j.Status) || !hasHome(j) {
			continue
		}
		lost := false
		forSubtasks(j, func(v vertexState, st subtaskState) {
			if st.HomeNodeId == "" || st.HomeLost || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED || !match(st) {
				return
			}
			st.HomeLost, lost = true, true
			m.remember(subtaskRef{j, v, st}, why, holdfastv1.ExceptionClass_EXCEPTION_CLASS_LOST, timeMs)
		})
		if lost && j.Status != holdfastv1.JobStatus_JOB_STATUS_SUSPENDED {
			m.suspend(index, j, nil, why)
		}
		found = found || lost
	}
	return found
}

func processGone(was *internalv1.Node) *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST,
		fmt.Sprintf("the process of node %s that had the state is gone, and the job runs without checkpoints", was.GetName()),
		"node", was.GetNodeId(), "incarnation", was.GetIncarnation())
}

func anyLost(j jobState) (found bool) {
	forSubtasks(j, func(_ vertexState, st subtaskState) { found = found || st.HomeLost })
	return found
}

// stateGone refuses to resume a job as if nothing were lost.
func stateGone(j jobState) *holdfastv1.Error {
	what := ""
	forSubtasks(j, func(v vertexState, st subtaskState) {
		if st.HomeLost && what == "" {
			what = fmt.Sprintf("subtask %d of %q", st.Index, v.OperatorUid)
		}
	})
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST,
		fmt.Sprintf("the state of %s is lost; `holdfast resume --accept-gap` lets job %q go on with that state empty, `holdfast cancel` ends it", what, j.Spec.Name))
}

// forgetLost lets subtasks whose state is lost begin from empty, anywhere.
func forgetLost(j jobState) {
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		if st.HomeLost {
			st.HomeNodeId, st.HomeIncarnation, st.HomeOrigin, st.HomeLost = "", "", 0, false
		}
	})
}

// Home is the process that has the state of a subtask without checkpoints.
type Home struct {
	NodeID, Incarnation string
	// Origin is the index of the Assign that made it: what a host has of another one
	// is of no use.
	Origin uint64
	Lost   bool
}

// HomeElsewhere returns the client address of the node that alone may run a subtask
// which waits for a stream like this one: a stream of the job on another node
// that has nothing to do should go there.
func (m *Machine) HomeElsewhere(jobID, nodeID string, operatorUIDs []string) (address string, ok bool) {
	j := m.byID[jobID]
	if j == nil || !hasHome(j) || !assignable(j.Status) {
		return "", false
	}
	forSubtasks(j, func(v vertexState, st subtaskState) {
		waits := st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED
		if !waits || ok || !runsAll(operatorUIDs, v.Chain) {
			return
		}
		if n := m.node(st.HomeNodeId); n != nil && n.NodeId != nodeID && n.Incarnation == st.HomeIncarnation {
			address, ok = n.ClientAddress, true
		}
	})
	return address, ok
}
