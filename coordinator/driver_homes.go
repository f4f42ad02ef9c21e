package coordinator

import (
	"fmt"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// findLostHomes proposes to give up the processes of which nothing was heard for the
// session timeout and that have state which is nowhere else, in the order of the
// subtasks that it belongs to.
func (d *Driver) findLostHomes(now time.Time, m *Machine) (out []*internalv1.Command) {
	type process struct{ node, incarnation string }
	through := map[process]uint64{}
	var silent []process
	for _, j := range m.jobs {
		if ended(j.Status) || !hasHome(j) {
			continue
		}
		forSubtasks(j, func(_ vertexState, st subtaskState) {
			p := process{st.HomeNodeId, st.HomeIncarnation}
			if p.node == "" || st.HomeLost || st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED || !d.silent(now, p.node) {
				return
			}
			if through[p] == 0 {
				silent = append(silent, p)
			}
			through[p] = max(through[p], st.HomeOrigin)
		})
	}
	for _, p := range silent {
		out = append(out, &internalv1.Command{Command: &internalv1.Command_LoseHost{LoseHost: &internalv1.LoseHost{
			NodeId: p.node, Incarnation: p.incarnation, Through: through[p], TimeMs: now.UnixMilli(),
			Error: Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST,
				fmt.Sprintf("nothing was heard for the session timeout of %s from node %s, which alone has the state of a job without checkpoints", d.cfg.SessionTimeout, m.nodeName(p.node)),
				"node", p.node, "incarnation", p.incarnation),
		}}})
	}
	return out
}

// silent tells whether nothing was heard of a node for the session timeout.
func (d *Driver) silent(now time.Time, node string) bool {
	heard := d.since
	if r, known := d.reports[node]; known {
		heard = r.at
	}
	return now.Sub(heard) >= d.cfg.SessionTimeout
}
