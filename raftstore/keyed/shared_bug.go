//go:build bug_no_copy_on_write

package keyed

// Planted bug, against invariants 2 and 8: a checkpoint goes on changing with the
// live state.
func isShared(*table, uint64) bool { return false }
