//go:build bug_tidy_unrecorded

package snapshots

// Planted bug: what stands nowhere in the log yet is taken for what has failed.
func (o Outcome) mayDelete(url string) bool { return url != o.Path }
