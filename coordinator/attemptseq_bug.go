//go:build bug_assign_keeps_seq

package coordinator

// Planted bug, against invariant 6: the first frames of a new attempt are taken
// for duplicates of the old one's.
func seqOfNewAttempt(st subtaskState) uint64 { return st.LastSeq }
