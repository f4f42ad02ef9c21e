package stateserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// snapshotStore reads and deletes what lies in directories of users.
type snapshotStore interface {
	// restore reads the metadata of a snapshot, and checks that a job may begin from
	// it: that every file is there, and that its states fit the specification.
	restore(ctx context.Context, spec *holdfastv1.JobSpec, from *holdfastv1.RestoreFrom) (*internalv1.Restore, *holdfastv1.Error)
	// dispose deletes a savepoint and counts its files.
	dispose(ctx context.Context, path string) (uint32, *holdfastv1.Error)
}

// readRestore reads what a job is to begin from. If it cannot be read a job of the
// name may be joined all the same, but none is made: what is returned then lacks
// the hash, without which the log refuses it.
func (j *jobService) readRestore(ctx context.Context, spec *holdfastv1.JobSpec, from *holdfastv1.RestoreFrom) (*internalv1.Restore, *holdfastv1.Error) {
	if from == nil {
		return nil, nil
	}
	path, e := coordinator.NormalizeDirectory(from.Path)
	if e != nil {
		return &internalv1.Restore{}, e
	}
	if j.s.snapshots == nil {
		return &internalv1.Restore{}, coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, "this node cannot read snapshots: it has no checkpoint storage")
	}
	r, e := j.s.snapshots.restore(ctx, spec, &holdfastv1.RestoreFrom{
		Path: path, AllowNonRestoredState: from.AllowNonRestoredState, ClaimMode: max(from.ClaimMode, holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM)})
	if e != nil {
		return &internalv1.Restore{}, e
	}
	return r, nil
}

// operationID names what a checkpoint that somebody asked for is known by.
func operationID(job string, checkpoint uint64) string {
	return fmt.Sprintf("%s/chk-%d", job, checkpoint)
}

// TriggerSavepoint implements holdfastv1.JobService.
func (j *jobService) TriggerSavepoint(ctx context.Context, r *holdfastv1.TriggerSavepointRequest) (*holdfastv1.TriggerSavepointResponse, error) {
	job, n, err := j.beginSavepoint(ctx, r.Job, &internalv1.BeginCheckpoint{
		RequestId: r.RequestId, SavepointDirectory: r.Directory, Then: holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE,
	})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.TriggerSavepointResponse{OperationId: operationID(job, n), CheckpointId: n}, nil
}

// Stop implements holdfastv1.JobService.
func (j *jobService) Stop(ctx context.Context, r *holdfastv1.StopRequest) (*holdfastv1.StopResponse, error) {
	then := holdfastv1.BarrierThen_BARRIER_THEN_SUSPEND
	if r.Drain {
		then = holdfastv1.BarrierThen_BARRIER_THEN_DRAIN
	}
	job, n, err := j.beginSavepoint(ctx, r.Job, &internalv1.BeginCheckpoint{
		RequestId: r.RequestId, SavepointDirectory: r.Directory, Then: then, Cancel: r.Cancel,
	})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.StopResponse{OperationId: operationID(job, n), CheckpointId: n}, nil
}

// beginSavepoint begins a savepoint of a job, as soon as no checkpoint is pending.
func (j *jobService) beginSavepoint(ctx context.Context, job string, c *internalv1.BeginCheckpoint) (id string, checkpoint uint64, err error) {
	if c.RequestId, err = requestID(c.RequestId); err != nil {
		return "", 0, err
	}
	if c.SavepointDirectory != "" {
		url, e := coordinator.NormalizeDirectory(c.SavepointDirectory)
		if e != nil {
			return "", 0, toStatus(e)
		}
		if e := j.s.checkDirectories(url); e != nil {
			return "", 0, toStatus(e)
		}
		c.SavepointDirectory = url
	}
	if id, err = j.find(ctx, job); err != nil {
		return "", 0, err
	}
	ctx, cancel := withReserve(ctx, proposalWait)
	defer cancel()
	changes, stop := j.s.store.Watch(id)
	defer stop()
	c.JobId, c.Kind, c.Trigger = id, holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT, holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_MANUAL
	for {
		c.TimeMs = j.s.clock.now().UnixMilli()
		r, index, e := j.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: c}})
		switch {
		case e == nil:
			if err := j.s.store.WaitApplied(ctx, index); err != nil {
				return "", 0, toStatus(fromStore(err))
			}
			return id, r.CheckpointId, nil
		case e.Reason != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING:
			return "", 0, toStatus(e)
		case !j.awaitDecided(ctx, id, e.Metadata["checkpoint"], changes):
			return "", 0, toStatus(e)
		}
	}
}

// awaitDecided waits until a pending checkpoint of a job is decided; false if ctx
// ends first.
func (j *jobService) awaitDecided(ctx context.Context, job, checkpoint string, changes <-chan struct{}) bool {
	n, err := strconv.ParseUint(checkpoint, 10, 64)
	for {
		var c *holdfastv1.Checkpoint
		j.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { c = m.Checkpoint(job, n) })
		// This node may not know yet that it began.
		if err != nil || c != nil && c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING {
			return ctx.Err() == nil
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return false
		}
	}
}

// DisposeSavepoint implements holdfastv1.JobService.
func (j *jobService) DisposeSavepoint(ctx context.Context, r *holdfastv1.DisposeSavepointRequest) (*holdfastv1.DisposeSavepointResponse, error) {
	path, e := coordinator.NormalizeDirectory(r.Path)
	if e != nil {
		return nil, toStatus(e)
	}
	if j.s.snapshots == nil {
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_METHOD_NOT_FOUND,
			"this node cannot delete savepoints: it has no checkpoint storage; delete the directory by other means", "method", holdfastv1.JobService_DisposeSavepoint_FullMethodName))
	}
	files, e := j.s.snapshots.dispose(ctx, path)
	if e != nil {
		return nil, toStatus(e)
	}
	return &holdfastv1.DisposeSavepointResponse{Files: files}, nil
}

// GetOperation implements holdfastv1.JobService.
func (j *jobService) GetOperation(_ context.Context, r *holdfastv1.GetOperationRequest) (*holdfastv1.GetOperationResponse, error) {
	job, chk, _ := strings.Cut(r.OperationId, "/chk-")
	n, err := strconv.ParseUint(chk, 10, 64)
	var c *holdfastv1.Checkpoint
	if err == nil {
		j.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { c = m.Checkpoint(job, n) })
	}
	if c == nil {
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATION_NOT_FOUND,
			fmt.Sprintf("no operation %q; operations are remembered for the last %d checkpoints of a job, `holdfast checkpoints` lists them", cut(r.OperationId, maxShownBytes), coordinator.MaxHistory)))
	}
	st, e := coordinator.OperationOf(c)
	return &holdfastv1.GetOperationResponse{OperationId: r.OperationId, Status: st, Checkpoint: c, Error: e}, nil
}
