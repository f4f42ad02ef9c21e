//go:build !bug_evict_inflight

package workingcopy

// inFlight tells whether a frame with the entry is not acknowledged: a host need
// not show it yet (rule 5.5).
func (s *Store) inFlight(e *Entry) bool { return e.seq > s.acked }
