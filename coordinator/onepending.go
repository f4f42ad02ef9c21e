//go:build !bug_begin_while_pending

package coordinator

// blocksBegin tells whether a checkpoint is under way: one runs at a time, and
// each has an outcome (invariant 3).
func blocksBegin(j jobState) bool { return j.Pending != nil }
