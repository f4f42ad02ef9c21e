//go:build bug_gap_success

package coordinator

// Planted bug, against invariants 2 and 6: frames are applied in any order, and
// what comes late is taken for what was applied.
func seqLeavesGap(subtaskState, uint64) bool { return false }
