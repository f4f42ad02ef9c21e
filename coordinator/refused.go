//go:build !bug_refused_goes_on

package coordinator

// refusalStands tells whether an earlier flush of the attempt was refused: no
// later one may be applied without it.
func refusalStands(st subtaskState) bool { return st.Refusal != nil }
