//go:build !bug_tidy_unrecorded

package snapshots

// mayDelete tells whether what one leader has written is not the savepoint, and cannot
// become it any more.
func (o Outcome) mayDelete(url string) bool { return o.Known && url != o.Path }
