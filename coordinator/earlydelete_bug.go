//go:build bug_delete_before_entry

package coordinator

// Planted bug, against invariants 5 and 12: the files of the checkpoint that the new
// one would subsume go before that is completed.
func (m *Machine) releaseAtBegin(j jobState) {
	for _, c := range j.History {
		if c.Retained && !pinned(c) {
			m.release(j, c)
			return
		}
	}
}
