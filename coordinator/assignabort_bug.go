//go:build bug_assign_keeps_pending

package coordinator

// Planted bug, against invariant 4: the acks of an attempt that is over complete a
// checkpoint together with those of the next one.
func (m *Machine) abortForAssign(jobState, int64) {}
