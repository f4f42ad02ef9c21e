//go:build !bug_assign_keeps_seq

package coordinator

// seqOfNewAttempt is the last seq that counts as applied when an attempt begins:
// its client counts from 1 (invariant 6).
func seqOfNewAttempt(subtaskState) uint64 { return 0 }
