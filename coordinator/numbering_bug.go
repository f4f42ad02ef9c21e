//go:build bug_map_order

package coordinator

// Planted bug, against invariant 7: what ids subtasks get depends on the order of
// a map, which differs between nodes.
func (m *Machine) numberSubtasks(j jobState) {
	all := map[subtaskState]bool{}
	forSubtasks(j, func(_ vertexState, st subtaskState) { all[st] = true })
	for st := range all {
		st.Id = m.nextSubtaskID
		m.nextSubtaskID++
	}
}
