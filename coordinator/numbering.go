//go:build !bug_map_order

package coordinator

// numberSubtasks gives the subtasks of a new job their ids, in the order of the
// specification, so that every node gives the same ones (invariant 7).
func (m *Machine) numberSubtasks(j jobState) {
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		st.Id = m.nextSubtaskID
		m.nextSubtaskID++
	})
}
