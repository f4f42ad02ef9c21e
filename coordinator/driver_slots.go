package coordinator

import (
	"slices"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// standbys returns the streams of a job that hold no subtask, on hosts that are
// heard of, by node and session. A slot has one subtask at most, so other
// streams of an instance that runs one are no standbys: they are what a dead
// host reported last, or what has not resumed yet.
func (d *Driver) standbys(now time.Time, m *Machine, jobID string) []standby {
	var out []standby
	running := map[string]bool{}
	if j := m.byID[jobID]; j != nil {
		forSubtasks(j, func(_ vertexState, st subtaskState) {
			if st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
				running[st.InstanceId] = true
			}
		})
	}
	for node, r := range d.reports {
		if now.Sub(r.at) > d.cfg.NodeSilence {
			continue
		}
		for _, s := range r.streams {
			_, busy := m.bySession[s.SessionId]
			if s.JobId == jobID && !busy && !running[s.InstanceId] && !d.exited(s.ProcessId) {
				out = append(out, standby{node, r.incarnation, s})
			}
		}
	}
	slices.SortFunc(out, func(a, b standby) int { return compareStrings(a.node, b.node, a.SessionId, b.SessionId) })
	return out
}

type standby struct {
	node, incarnation string
	*internalv1.OperatorStream
}

func compareStrings(a1, b1, a2, b2 string) int {
	switch {
	case a1 < b1:
		return -1
	case a1 > b1:
		return 1
	case a2 < b2:
		return -1
	case a2 > b2:
		return 1
	}
	return 0
}

// pick matches subtasks with streams: first the slot that had it, then the
// process with the fewest subtasks given here.
func pick(m *Machine, want []subtaskRef, free []standby) []*internalv1.AssignTarget {
	var out []*internalv1.AssignTarget
	load := map[string]int{}
	for _, w := range want {
		best := -1
		for i, s := range free {
			if !runsAll(s.OperatorUids, w.vertex.Chain) || !m.mayHost(w, s) {
				continue
			}
			if s.InstanceId == w.st.InstanceId {
				best = i
				break
			}
			if best < 0 || load[s.ProcessId] < load[free[best].ProcessId] {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		s := free[best]
		free = slices.Delete(free, best, best+1)
		load[s.ProcessId]++
		out = append(out, &internalv1.AssignTarget{
			SubtaskId: w.st.Id, ExpectedToken: w.st.FencingToken, NodeId: s.node, Incarnation: s.incarnation,
			SessionId: s.SessionId, InstanceId: s.InstanceId, ProcessId: s.ProcessId,
		})
	}
	return out
}

func runsAll(uids, chain []string) bool {
	for _, c := range chain {
		if !slices.Contains(uids, c) {
			return false
		}
	}
	return true
}

// mayHost tells whether the state of a subtask can be where a stream is.
func (m *Machine) mayHost(w subtaskRef, s standby) bool {
	if !onHost(w.job) {
		return true
	}
	n := m.node(s.node)
	return n != nil && n.Incarnation == s.incarnation && slices.Contains(n.StateBackends, w.job.Spec.StateBackend.Name) &&
		(!hasHome(w.job) || isHome(w.st, s.node, s.incarnation))
}
