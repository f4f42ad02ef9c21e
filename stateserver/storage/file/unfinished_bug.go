//go:build bug_visible_early

package file

import (
	"crypto/rand"
	"path"
)

// Planted bug: a file is to be seen while it is written.
func unfinished(dest string) string {
	return path.Join(path.Dir(dest), rand.Text()[:12]+"-"+path.Base(dest))
}
