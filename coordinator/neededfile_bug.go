//go:build bug_delete_needed

package coordinator

// Planted bug, against invariant 12: a checkpoint that is subsumed takes files with
// it that newer ones share.
func isNeeded(map[string]bool, string) bool { return false }
