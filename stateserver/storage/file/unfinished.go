//go:build !bug_visible_early

package file

import (
	"crypto/rand"
	"path"
)

// unfinished is where a file is written until it is committed: beside its place, so
// that a rename is all that is left, under a name that nobody lists.
func unfinished(dest string) string {
	return path.Join(path.Dir(dest), tempPrefix+rand.Text()[:12]+"-"+path.Base(dest))
}
