//go:build bug_home_forgotten

package coordinator

// Planted bug: a subtask without checkpoints goes on anywhere, where its state is
// not, and silently begins from zero.
func isHome(subtaskState, string, string) bool { return true }
