//go:build !bug_gap_success

package coordinator

// seqLeavesGap tells whether a frame before this one is missing (invariant 6).
func seqLeavesGap(st subtaskState, seq uint64) bool { return seq > st.LastSeq+1 }
