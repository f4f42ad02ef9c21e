//go:build !bug_no_dedupe

package coordinator

// seqIsTaken tells whether a frame was applied before (invariant 6).
func seqIsTaken(st subtaskState, seq uint64) bool { return seq <= st.LastSeq }
