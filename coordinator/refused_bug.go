//go:build bug_refused_goes_on

package coordinator

// Planted bug, against invariants 2 and 6: after a flush that was refused, later
// ones of the attempt are applied.
func refusalStands(subtaskState) bool { return false }
