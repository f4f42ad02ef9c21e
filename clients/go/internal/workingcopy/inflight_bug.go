//go:build bug_evict_inflight

package workingcopy

// Planted bug, against rule 5.5: an entry is evicted while the host may still
// answer with what was before.
func (s *Store) inFlight(*Entry) bool { return false }
