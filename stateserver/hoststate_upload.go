package stateserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// uploadPatience is how long a snapshot is written again while the storage does not
// answer, before its checkpoint is given up with the reason.
const uploadPatience = 15 * time.Second

// upload is a snapshot on its way to the storage and into an ack.
type upload struct {
	checkpoint uint64
	cancel     context.CancelFunc
	done       chan struct{}
}

// ready is a CheckpointReady that was taken.
type ready struct {
	token, checkpoint uint64
	positions         []*holdfastv1.Position
	times             barrierTimes
	operatorState     operatorStatePart
}

// cut makes the snapshot of a checkpoint, if that still waits for it, and begins to
// write it (rule C4). An upload of an older checkpoint, which is decided by then, is
// given up first.
func (h *hosted) cut(st backend.State, r *ready) error {
	h.endUpload()
	if !h.pending(r.checkpoint) {
		return nil
	}
	if r.operatorState.declined != nil {
		h.m.s.goRun(func() { h.abort(h.ctx, r.checkpoint, r.operatorState.declined) })
		return nil
	}
	sn, err := st.Cut(r.checkpoint)
	if err != nil {
		return err
	}
	state, flushed := h.bytes(st)+r.operatorState.size(), h.flushed.Load()
	ctx, cancel := context.WithCancel(h.ctx)
	u := &upload{checkpoint: r.checkpoint, cancel: cancel, done: make(chan struct{})}
	h.mu.Lock()
	h.upload = u
	h.mu.Unlock()
	go func() {
		defer close(u.done)
		defer cancel()
		defer sn.Release()
		ack := &internalv1.AckCheckpoint{
			SubtaskId: h.subtask, FencingToken: r.token, CheckpointId: r.checkpoint, Positions: r.positions,
			StateBytes: state, FlushedBytes: flushed,
		}
		base := h.base()
		handles, err := h.write(ctx, sn, base, r.token, r.checkpoint, r.operatorState)
		if err != nil {
			h.cannotWrite(ctx, r.checkpoint, err)
			return
		}
		if shares(handles) {
			ack.BaseCheckpointId = base.ID
		}
		now := h.m.s.clock.now()
		ack.UploadedBytes, ack.TimeMs, ack.Times = newBytes(handles), now.UnixMilli(), r.times.ready(r.checkpoint, now)
		h.ack(ctx, ack, handles)
	}()
	return nil
}

// pendingID is the checkpoint that waits for the ack of a subtask, 0 for none.
func pendingID(v coordinator.SubtaskView) uint64 {
	if v.Pending == nil {
		return 0
	}
	return v.Pending.ID
}

// pending tells whether a checkpoint waits for the ack of the subtask.
func (h *hosted) pending(checkpoint uint64) (waits bool) {
	h.m.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) {
		v, ok := c.Subtask(h.subtask)
		waits = ok && pendingID(v) == checkpoint
	})
	return waits
}

// decided gives up the upload if its checkpoint no longer waits for it. waits is the
// one that does, 0 for none.
func (h *hosted) decided(waits uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.upload != nil && h.upload.checkpoint != waits {
		h.upload.cancel()
	}
}

// endUpload ends the upload that is under way, and waits for it.
func (h *hosted) endUpload() {
	h.mu.Lock()
	u := h.upload
	h.upload = nil
	h.mu.Unlock()
	if u != nil {
		u.cancel()
		<-u.done
	}
}

// base is the newest completed checkpoint of the subtask, nil for none.
func (h *hosted) base() (base *backend.Base) {
	h.m.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) {
		if id, of := c.BaseOf(h.subtask); id != 0 {
			base = &backend.Base{ID: id, Handles: of}
		}
	})
	return base
}

// write writes a snapshot and the operator state, again if the storage did not answer;
// with a base only what changed, if the job asked for that.
func (h *hosted) write(ctx context.Context, sn backend.Snapshot, base *backend.Base, token, checkpoint uint64, state operatorStatePart) ([]*holdfastv1.StateHandle, error) {
	files, err := h.m.filesOf(ctx, h.jobID, h.subtask, h.config, token, checkpoint)
	if err != nil {
		return nil, err
	}
	return writeAgain(ctx, func() ([]*holdfastv1.StateHandle, error) {
		handles, err := sn.Write(ctx, files, base, h.config.GetIncremental())
		if err == nil {
			err = checkParts(handles)
		}
		return handles, err
	}, func() (*holdfastv1.StateHandle, error) { return state.write(ctx, files) })
}

// checkParts refuses parts of a state backend that would be taken for operator state.
func checkParts(handles []*holdfastv1.StateHandle) error {
	if coordinator.OperatorStatePart(handles) == nil {
		return nil
	}
	return fmt.Errorf("the state backend wrote a part of the format %q, which is that of operator state; it must use another name", coordinator.OperatorStateFormat)
}

// writeAgain writes the parts of the state backend and then that of the operator state,
// nil for none, each again for uploadPatience from when the storage first did not answer:
// however long the writing took before counts for nothing.
func writeAgain(ctx context.Context, parts func() ([]*holdfastv1.StateHandle, error), last func() (*holdfastv1.StateHandle, error)) ([]*holdfastv1.StateHandle, error) {
	var handles []*holdfastv1.StateHandle
	written := false
	var failing time.Time // since when the storage does not answer; zero: it does
	return backoff.Retry(ctx, func() (out []*holdfastv1.StateHandle, err error) {
		var h *holdfastv1.StateHandle
		if !written {
			if handles, err = parts(); err == nil {
				written, failing = true, time.Time{}
			}
		}
		if err == nil {
			h, err = last()
		}
		switch {
		case err != nil && !transient(err):
			return nil, backoff.Permanent(err)
		case err != nil && failing.IsZero():
			failing = time.Now()
			return nil, err
		case err != nil && time.Since(failing) > uploadPatience:
			return nil, backoff.Permanent(err)
		case err != nil:
			return nil, err
		case h != nil:
			return append(slices.Clip(handles), h), nil
		}
		return handles, nil
	}, backoff.WithMaxElapsedTime(0))
}

// shares tells whether some of the handles are files of an older checkpoint.
func shares(handles []*holdfastv1.StateHandle) bool {
	return slices.ContainsFunc(handles, func(x *holdfastv1.StateHandle) bool { return x.Shared })
}

// newBytes is what was written for one checkpoint alone.
func newBytes(handles []*holdfastv1.StateHandle) (n uint64) {
	for _, x := range handles {
		if !x.Shared {
			n += x.Size
		}
	}
	return n
}

// cannotWrite tells the log that a checkpoint cannot get the subtask's snapshot.
func (h *hosted) cannotWrite(ctx context.Context, checkpoint uint64, err error) {
	if ctx.Err() != nil {
		return // it is decided, or the attempt is over
	}
	h.log.Warn("the snapshot of a checkpoint could not be written", "checkpoint", checkpoint, "err", err)
	h.abort(ctx, checkpoint, uploadError(err))
}

// abort aborts a checkpoint that the subtask cannot take part in.
func (h *hosted) abort(ctx context.Context, checkpoint uint64, reason *holdfastv1.Error) {
	h.propose(ctx, &internalv1.Command{Command: &internalv1.Command_AbortCheckpoint{AbortCheckpoint: &internalv1.AbortCheckpoint{
		JobId: h.jobID, CheckpointId: checkpoint, TimeMs: h.m.s.clock.now().UnixMilli(), Jitter: jitter(), Reason: reason,
	}}})
}

func uploadError(err error) *holdfastv1.Error {
	reason := holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED
	var s *storage.Error
	if errors.As(err, &s) {
		reason = holdfastv1.ErrorReason_ERROR_REASON_STORAGE_UNAVAILABLE
	}
	return coordinator.Failure(reason, "the snapshot could not be written: "+err.Error())
}

// propose puts a command into the log, again until it is answered or ctx ends.
func (h *hosted) propose(ctx context.Context, c *internalv1.Command) *holdfastv1.Error {
	_, _, e := h.m.s.fwd.do(ctx, c)
	return e
}

// ack proposes the parts of an ack and then the ack itself.
func (h *hosted) ack(ctx context.Context, ack *internalv1.AckCheckpoint, handles []*holdfastv1.StateHandle) {
	parts := splitHandles(handles)
	ack.Parts, ack.Handles = uint32(len(parts)-1), parts[len(parts)-1]
	e := h.proposeParts(ctx, ack.FencingToken, ack.CheckpointId, parts)
	if e == nil {
		e = h.propose(ctx, &internalv1.Command{Command: &internalv1.Command_AckCheckpoint{AckCheckpoint: ack}})
	}
	switch e.GetReason() {
	case holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
		h.flushed.Add(-ack.FlushedBytes)
	case holdfastv1.ErrorReason_ERROR_REASON_FENCED, holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED:
		h.log.Debug("an ack came too late", "checkpoint", ack.CheckpointId)
	default:
		h.cannotWrite(ctx, ack.CheckpointId, fmt.Errorf("the ack was refused: %s", e.Message))
	}
}

func (h *hosted) proposeParts(ctx context.Context, token, checkpoint uint64, parts [][]*holdfastv1.StateHandle) *holdfastv1.Error {
	for i, p := range parts[:len(parts)-1] {
		e := h.propose(ctx, &internalv1.Command{Command: &internalv1.Command_AckPart{AckPart: &internalv1.AckPart{
			SubtaskId: h.subtask, FencingToken: token, CheckpointId: checkpoint, Part: uint32(i), Handles: p,
		}}})
		if e != nil {
			return e
		}
	}
	return nil
}
