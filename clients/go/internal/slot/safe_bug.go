//go:build bug_ready_before_sink

package slot

// Planted bug: output counts as written when it was given to the writer.
func safe([]mark) bool { return true }
