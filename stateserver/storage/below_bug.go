//go:build bug_root_by_bytes

package storage

import "strings"

// Below of this planted bug compares bytes and not elements: /ckpt allows /ckpt2.
func (l Location) Below(root Location) (rel string, ok bool) {
	if l.Scheme != root.Scheme || !strings.EqualFold(l.Authority, root.Authority) {
		return "", false
	}
	rel, ok = strings.CutPrefix(l.Path, root.Path)
	return strings.TrimPrefix(rel, "/"), ok
}
