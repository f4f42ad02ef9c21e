//go:build !bug_root_by_bytes

package storage

import "strings"

// Below is the path from root to l with slashes between, "" for root itself; ok
// says whether l is root or below it.
func (l Location) Below(root Location) (rel string, ok bool) {
	if l.Scheme != root.Scheme || !strings.EqualFold(l.Authority, root.Authority) {
		return "", false
	}
	if l.Path == root.Path {
		return "", true
	}
	return strings.CutPrefix(l.Path, root.Path+"/")
}
