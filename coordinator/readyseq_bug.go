//go:build bug_ready_no_seq

package coordinator

// Planted bug, against invariant 6: a Ready for a decided checkpoint leaves a gap,
// and nothing of the attempt is applied any more.
func takesSeq(j jobState, checkpoint uint64) bool {
	return j.Pending != nil && j.Pending.Id == checkpoint
}
