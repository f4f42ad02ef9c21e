//go:build bug_evict_dirty

package workingcopy

// Planted bug, against rule 5.5: the only copy of a change is evicted.
func unflushed(*Entry) bool { return false }
