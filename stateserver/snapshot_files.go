package stateserver

import (
	"context"
	"strings"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// snapshotFiles implements snapshotStore over the directories that this node allows.
type snapshotFiles struct{ s *Server }

// restore implements snapshotStore.
func (f snapshotFiles) restore(ctx context.Context, spec *holdfastv1.JobSpec, from *holdfastv1.RestoreFrom) (*internalv1.Restore, *holdfastv1.Error) {
	from.Path = strings.TrimSuffix(from.Path, "/"+storage.MetadataName)
	what := "the job cannot begin from " + from.Path
	r, err := f.s.states.openSnapshot(ctx, from.Path)
	if err != nil {
		return nil, fromStorage(what, err)
	}
	defer r.Close()
	if e := r.CheckFits(spec, from.AllowNonRestoredState); e != nil {
		e.Message = what + ": " + e.Message
		return nil, e
	}
	if err := r.CheckFormats(f.s.states.names()); err != nil {
		return nil, coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, what+": "+err.Error())
	}
	if err := r.CheckFiles(ctx); err != nil {
		return nil, fromStorage(what, err)
	}
	m := r.Metadata()
	out := &internalv1.Restore{From: from, MetadataSha256: r.SHA256(), CheckpointId: m.CheckpointId}
	if m.Kind == holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT {
		out.OwnerJobId = m.JobId
	}
	for _, o := range spec.Operators {
		if p := r.Operator(o.Uid).GetPositions(); o.Source != nil && len(p) > 0 {
			out.Positions = append(out.Positions, &internalv1.RestorePositions{OperatorUid: o.Uid, Positions: p})
		}
	}
	return out, nil
}

// dispose implements snapshotStore. A checkpoint is deleted too, once its job has
// ended and nobody needs it.
func (f snapshotFiles) dispose(ctx context.Context, path string) (uint32, *holdfastv1.Error) {
	path = strings.TrimSuffix(path, "/"+storage.MetadataName)
	what := "the savepoint " + path + " cannot be deleted"
	r, err := f.s.states.openSnapshot(ctx, path)
	if err != nil {
		return 0, fromStorage(what, err)
	}
	m := r.Metadata()
	_ = r.Close() // it was only read
	owner := ""
	if m.Kind == holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT {
		owner = m.JobId
	}
	// Who needs it is judged by a state that has everything that is committed.
	index, err := f.s.readIndex(ctx)
	if err == nil {
		err = f.s.store.WaitApplied(ctx, index)
	}
	if err != nil {
		return 0, noLeader()
	}
	var e *holdfastv1.Error
	f.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) { e = c.SnapshotNeeded(path, owner) })
	if e != nil {
		return 0, e
	}
	n, err := snapshots.Delete(ctx, f.s.cfg.Storages, path)
	if err != nil {
		return 0, fromStorage(what, err)
	}
	f.s.log.Info("a savepoint is deleted", "path", path, "job", m.JobId, "checkpoint", m.CheckpointId, "files", n)
	return uint32(n), nil
}
