//go:build bug_down_no_token

package slot

// Planted bug, against rule 3.8: an answer to an older attempt's frame counts for
// this one's.
func (a *attempt) current(uint64) bool { return true }
