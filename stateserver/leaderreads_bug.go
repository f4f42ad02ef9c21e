//go:build bug_stale_read

package stateserver

// Planted bug, against linearizable reads: every node answers from what it has
// applied.
func asksLeader(string) bool { return false }
