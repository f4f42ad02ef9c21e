//go:build !bug_home_forgotten

package coordinator

// isHome tells whether a process may run a subtask without checkpoints: the one
// that has its state, or any if there is none yet.
func isHome(st subtaskState, node, incarnation string) bool {
	return st.HomeNodeId == "" || !st.HomeLost && st.HomeNodeId == node && st.HomeIncarnation == incarnation
}
