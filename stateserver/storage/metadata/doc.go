// Package metadata is the manifest _metadata of a checkpoint or savepoint: what it
// is of, and every file that belongs to it. ../DESIGN.md has the format.
package metadata

import (
	"path"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// base is the directory that the paths in a manifest are relative to: that of the
// job for a checkpoint, which stands in chk-N below it, and that of the manifest
// for a savepoint.
func base(dir string, kind holdfastv1.SnapshotKind) string {
	if kind == holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT {
		return dir
	}
	if d := path.Dir(dir); d != "." {
		return d
	}
	return ""
}
