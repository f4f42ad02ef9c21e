//go:build !bug_delete_needed

package coordinator

// isNeeded tells whether a file of a subsumed checkpoint must stay (invariant 12).
func isNeeded(needed map[string]bool, file string) bool { return needed[file] }
