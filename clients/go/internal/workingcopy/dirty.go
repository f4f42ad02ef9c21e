//go:build !bug_evict_dirty

package workingcopy

// unflushed tells whether the entry has a change that is in no frame: it is the
// only copy (rule 5.5).
func unflushed(e *Entry) bool { return e.gen != 0 || e.old != nil }
