//go:build !bug_no_fencing

package coordinator

// tokenIsCurrent tells whether a frame is of the attempt that holds the subtask,
// and of its newest stream (invariant 1).
func tokenIsCurrent(st subtaskState, token uint64) bool { return token == st.FencingToken }
