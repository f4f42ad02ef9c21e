package snapshots

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// Savepoint is what the leader of one term makes of a savepoint. Its directory is
// written by this leader alone; which of several is the savepoint, the log says.
type Savepoint struct {
	// Base is the directory for savepoints.
	Base    storage.Storage
	Snap    *coordinator.Snapshot
	Cluster string // its id
	Term    uint64 // of the leader
	Inline  int64  // as in Target
	Retry   storage.RetryPolicy
}

func (s Savepoint) target() Target {
	return Target{
		Files: storage.Sub(s.Base, savepointDir(s.Cluster, s.Snap, s.Term)),
		Kind:  holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT, Inline: s.Inline, Retry: s.Retry,
	}
}

// Write writes the savepoint and tells its directory. One that this leader has written
// whole, and was not told of, is not written again. What an earlier try has left
// unfinished goes first: nobody else writes there.
func (s Savepoint) Write(ctx context.Context, src Source) (url string, err error) {
	to := s.target()
	whole, err := s.whole(ctx, to)
	if err == nil && !whole {
		_, err = to.Files.DeleteUnfinished(ctx, "", farFuture)
	}
	if err == nil && !whole {
		err = WriteCanonical(ctx, to, s.Snap, src)
	}
	return to.Files.URL(), err
}

// whole tells whether the savepoint is there, with every file that it names.
func (s Savepoint) whole(ctx context.Context, to Target) (bool, error) {
	m, err := metadata.Read(ctx, to.Files, to.Dir)
	if err != nil || m.JobId != s.Snap.JobID || m.CheckpointId != s.Snap.Checkpoint.Id || m.TimestampMs != s.Snap.Checkpoint.TriggeredMs {
		return false, nil // whatever is there is written again
	}
	err = checkFiles(ctx, to.Files, m)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return false, nil
	}
	return err == nil, err
}

// Outcome is what stands in the log of a savepoint.
type Outcome struct {
	Known bool   // it is written, or has failed
	Path  string // where it is written; "" if it has failed
}

// Tidy deletes what is not the savepoint: of this leader, and of those of so many terms
// before in the same cluster, who were killed or lost the leadership in the middle.
// Nothing is deleted before the log says what the savepoint is: until then the directory
// of any of them may become it. What another cluster wrote is never deleted: the log of
// one made from a backup does not say what the cluster before recorded later. The manifest goes first, so that what is left is no savepoint.
func (s Savepoint) Tidy(ctx context.Context, o Outcome, before uint64) error {
	var errs []error
	for term := s.Term - min(before, s.Term); term <= s.Term; term++ {
		dir := storage.Sub(s.Base, savepointDir(s.Cluster, s.Snap, term))
		if !o.mayDelete(dir.URL()) {
			continue
		}
		err := dir.Delete(ctx, storage.MetadataName)
		if err == nil {
			err = dir.DeleteAll(ctx, "")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("what is left of a savepoint at %s: %w", dir.URL(), err))
		}
	}
	return errors.Join(errs...)
}
