//go:build !bug_no_copy_on_write

package keyed

// isShared tells whether a version or a View may refer to a live table: then the
// writer copies it first (invariant 8).
func isShared(t *table, epoch uint64) bool { return t.epoch != epoch }
