package stateserver

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// export writes what is due and records it. ctx is that of the try, lead that of the
// leadership.
func (x *exporter) export(ctx, lead context.Context, t *exportTask, e coordinator.Export) error {
	began := time.Now()
	var snap *coordinator.Snapshot
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { snap, _ = m.SnapshotOf(e.JobID, e.CheckpointID) })
	if snap == nil {
		return nil // subsumed in this moment
	}
	if e.Savepoint {
		return x.exportSavepoint(ctx, lead, t, e, snap)
	}
	path, err := x.writeCheckpoint(ctx, snap)
	return x.exported(ctx, t, e, path, err, began)
}

// exported records what came of an export. The error is why it is to be tried again.
func (x *exporter) exported(ctx context.Context, t *exportTask, e coordinator.Export, path string, err error, began time.Time) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := &internalv1.RecordExport{JobId: e.JobID, CheckpointId: e.CheckpointID, Savepoint: e.Savepoint, Path: path, TimeMs: x.s.clock.now().UnixMilli()}
	kind := exportMetadata
	if e.Savepoint {
		kind = exportSavepoint
	}
	if err != nil {
		if !e.Savepoint && err.Error() == t.message {
			return err // recorded already
		}
		r.Path, r.Error = "", clip(exportError(e, err))
	}
	_, _, refused := x.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_RecordExport{RecordExport: r}})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !e.Savepoint:
		return err
	case err != nil:
		x.metrics.failures.WithLabelValues(string(kind)).Inc()
		x.log.Error("a savepoint failed; its checkpoint stands", "job", e.JobID, "checkpoint", e.CheckpointID, "err", err)
	case refused != nil:
		x.log.Debug("an export was not taken", "job", e.JobID, "checkpoint", e.CheckpointID, "why", refused.Message)
	default:
		x.metrics.seconds.WithLabelValues(string(kind)).Observe(time.Since(began).Seconds())
		if e.Savepoint {
			x.log.Info("a savepoint is written", "job", e.JobID, "checkpoint", e.CheckpointID, "path", path, "seconds", time.Since(began).Seconds())
		}
	}
	return nil
}

func exportError(e coordinator.Export, err error) *holdfastv1.Error {
	if !e.Savepoint {
		return fromStorage("the metadata could not be written", err)
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED,
		fmt.Sprintf("checkpoint %d is complete, but its savepoint could not be written: %s", e.CheckpointID, err), "checkpoint", fmt.Sprint(e.CheckpointID))
}

// writeCheckpoint writes the manifest of a checkpoint, and for memory its state, into
// the directory of the checkpoint.
func (x *exporter) writeCheckpoint(ctx context.Context, snap *coordinator.Snapshot) (url string, err error) {
	c := snap.Spec.Checkpoint
	dir, err := x.s.states.stores.dir(ctx, c.Directory)
	if err != nil {
		return "", err
	}
	to := snapshots.Target{
		Files: storage.Sub(dir, snap.JobID), Dir: storage.CheckpointDir(snap.Checkpoint.Id),
		Kind: holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT, Inline: int64(c.InlineThreshold),
	}
	if snap.Spec.StateBackend.Name == coordinator.MemoryBackend {
		err = snapshots.WriteCanonical(ctx, to, snap, checkpointSource{x.s, snap})
	} else {
		err = writeNative(ctx, to, snap)
	}
	return storage.JoinURL(to.Files.URL(), to.Dir), err
}

// writeNative writes the manifest of what hosts have written. Whether this node sees
// it is worth a look where a directory may be another one on each node.
func writeNative(ctx context.Context, to snapshots.Target, snap *coordinator.Snapshot) error {
	for _, a := range snap.Checkpoint.Acks {
		own := coordinator.FilePrefix(a.FencingToken, snap.Checkpoint.Id, a.SubtaskId)
		for _, h := range a.Handles {
			if !strings.HasPrefix(to.Files.URL(), "file:") || !strings.HasPrefix(path.Base(h.File), own) {
				continue
			}
			if _, err := to.Files.Stat(ctx, h.File); err != nil {
				return fmt.Errorf("what a host has written cannot be seen on this node; every node must have the same directory there: %w", err)
			}
		}
	}
	return snapshots.WriteManifest(ctx, to, snapshots.Native(snap))
}

// checkpointSource implements [snapshots.Source].
type checkpointSource struct {
	s    *Server
	snap *coordinator.Snapshot
}

// Entries implements [snapshots.Source].
func (x checkpointSource) Entries(ctx context.Context, st coordinator.SubtaskRange, space coordinator.Space) (es backend.Entries, err error) {
	if x.snap.Spec.StateBackend.Name != coordinator.MemoryBackend {
		return x.s.states.snapshotEntries(ctx, x.snap, st.ID)
	}
	x.s.store.Read(func(_ *coordinator.Machine, k *keyed.Store) {
		var f *keyed.Frozen
		if f, err = k.Frozen(st.ID, x.snap.Checkpoint.Id); err == nil {
			es = snapshots.Frozen(f, space)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("checkpoint %d is not in the log any more: %w", x.snap.Checkpoint.Id, err)
	}
	return es, nil
}

// OperatorStates implements [snapshots.Source].
func (x checkpointSource) OperatorStates(ctx context.Context, st coordinator.SubtaskRange) (*holdfastv1.OperatorStates, error) {
	for _, a := range x.snap.Checkpoint.Acks {
		if a.SubtaskId == st.ID {
			return x.s.states.readOperatorState(ctx, x.snap.JobID, x.snap.Spec.Checkpoint, coordinator.OperatorStatePart(a.Handles))
		}
	}
	return nil, nil
}
