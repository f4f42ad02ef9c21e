package stateserver

import (
	"context"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// finish writes the last state of a subtask and ends it in the log. The state
// stands for the subtask in every later checkpoint; without checkpoints nothing does.
// The error is why the attempt cannot finish; FENCED if it is over.
func (h *hosted) finish(ctx context.Context, st backend.State, token uint64, positions []*holdfastv1.Position, state operatorStatePart) *holdfastv1.Error {
	h.endUpload()
	f := &internalv1.Finish{SubtaskId: h.subtask, FencingToken: token, Positions: positions, StateBytes: h.bytes(st) + state.size()}
	parts := [][]*holdfastv1.StateHandle{nil}
	if h.checkpoints {
		sn, err := st.Cut(0)
		if err != nil {
			return h.failed(err)
		}
		defer sn.Release()
		// Whole: a checkpoint that others complete meanwhile could subsume a base.
		handles, err := h.write(ctx, sn, nil, token, 0, state)
		if err != nil {
			return uploadError(err)
		}
		parts = splitHandles(handles)
	}
	f.Parts, f.Handles = uint32(len(parts)-1), parts[len(parts)-1]
	if e := h.proposeParts(ctx, token, 0, parts); e != nil {
		return e
	}
	f.TimeMs = h.m.s.clock.now().UnixMilli()
	return h.propose(ctx, &internalv1.Command{Command: &internalv1.Command_Finish{Finish: f}})
}
