package snapshots

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// Delete deletes a checkpoint or savepoint by its directory, and counts its files. One
// that is gone is no error. Of a checkpoint the files that others beside it name stay.
// The manifest goes last, behind everything that is found by it: whoever is killed in
// the middle leaves a snapshot that the next deletion finds and finishes, and that no
// job begins from, because a file that it names is missing (CheckFiles).
func Delete(ctx context.Context, registry *storage.Registry, url string) (files int, err error) {
	if registry == nil {
		return 0, fmt.Errorf("%w: directory %s: this node has no checkpoint storage", storage.ErrRefused, url)
	}
	snap, err := metadata.Load(ctx, registry, url)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	named := metadata.Files(snap.Metadata)
	if snap.Metadata.Kind == holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT {
		return len(named) + 1, deleteDir(ctx, snap.Files)
	}
	others, err := namedBeside(ctx, snap)
	if err != nil {
		return 0, err
	}
	for _, f := range named {
		if others[f.Handle.Path] {
			continue
		}
		if err := snap.Files.Delete(ctx, f.Handle.Path); err != nil {
			return files, err
		}
		files++
	}
	return files + 1, deleteDir(ctx, storage.Sub(snap.Files, snap.Dir))
}

// deleteDir deletes a directory, what a manifest names and what it does not, and the
// manifest behind that. DeleteAll alone promises no order.
func deleteDir(ctx context.Context, dir storage.Storage) error {
	all, err := storage.ListAll(ctx, dir, "")
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Name == storage.MetadataName {
			continue
		}
		if err := dir.Delete(ctx, f.Name); err != nil {
			return err
		}
	}
	if _, err := dir.DeleteUnfinished(ctx, "", farFuture); err != nil {
		return err
	}
	if err := dir.Delete(ctx, storage.MetadataName); err != nil {
		return err
	}
	return dir.DeleteAll(ctx, "") // the directories
}

// farFuture is behind whatever was written.
var farFuture = time.Unix(1<<40, 0)

// namedBeside are the files that other checkpoints of the same job name.
func namedBeside(ctx context.Context, snap *metadata.Snapshot) (map[string]bool, error) {
	named := map[string]bool{}
	for info, err := range snap.Files.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		dir, manifest := strings.CutSuffix(info.Name, "/"+storage.MetadataName)
		if !manifest || dir == snap.Dir {
			continue
		}
		m, err := metadata.Read(ctx, snap.Files, dir)
		if err != nil {
			return nil, err
		}
		for _, f := range metadata.Files(m) {
			named[f.Handle.Path] = true
		}
	}
	return named, nil
}
