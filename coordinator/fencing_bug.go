//go:build bug_no_fencing

package coordinator

// Planted bug, against invariant 1: whoever held the subtask ever goes on writing.
func tokenIsCurrent(subtaskState, uint64) bool { return true }
