//go:build bug_no_dedupe

package coordinator

// Planted bug, against invariant 6: a frame that is sent again counts again.
func seqIsTaken(subtaskState, uint64) bool { return false }
