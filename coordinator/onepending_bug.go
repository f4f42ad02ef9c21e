//go:build bug_begin_while_pending

package coordinator

// Planted bug, against invariant 3: a new checkpoint takes the place of the
// pending one, which gets no outcome.
func blocksBegin(jobState) bool { return false }
