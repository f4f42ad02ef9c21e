//go:build !bug_assign_keeps_state

package coordinator

// rollBack sets the state of a subtask to that of its restore point, and tells
// whether it was there (invariants 4 and 10).
func (m *Machine) rollBack(st subtaskState, checkpoint uint64) bool {
	return m.keyed.Restore(st.Id, checkpoint)
}
