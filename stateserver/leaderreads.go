//go:build !bug_stale_read

package stateserver

// asksLeader tells whether a call is answered by the leader alone, after it has
// made sure that it leads: then no answer is stale.
func asksLeader(method string) bool { return leaderMethods[method] != 0 }
