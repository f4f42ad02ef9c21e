//go:build bug_split_remainder

package coordinator

// Planted bug: what is over when elements are dealt out alike is lost.
func oddElements(int, int) int { return 0 }
