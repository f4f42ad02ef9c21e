//go:build !bug_late_ack

package coordinator

// waitsFor tells whether a checkpoint is the pending one (invariant 3).
func waitsFor(j jobState, checkpoint uint64) bool {
	return j.Pending != nil && j.Pending.Id == checkpoint
}
