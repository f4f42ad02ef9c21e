package stateserver

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// The operator state of a chain is in its process, and here only on its way: up into
// an ack, and down to the next attempt.

// operatorStatePart is the operator state of a cut.
type operatorStatePart struct {
	packed []byte // nil: the job has none
	// declined is why the subtask cannot take part in the checkpoint.
	declined *holdfastv1.Error
}

// takeOperatorState judges what a frame has of operator state. The error ends the
// stream. What is too large is declined instead. The caller holds mu.
func (x *session) takeOperatorState(frame string, states []*holdfastv1.OperatorState, declined *holdfastv1.Error) (p operatorStatePart, e *holdfastv1.Error) {
	if declined != nil {
		return operatorStatePart{declined: clip(declined)}, nil
	}
	declared := x.hold.shape.operatorStates
	if len(declared) == 0 && len(states) == 0 {
		return p, nil
	}
	packed, problem := coordinator.PackOperatorStates(declared, states)
	if problem != "" {
		return p, violation("6.9", frame+": "+problem)
	}
	if n, limit := coordinator.OperatorStateBytes(states), int(x.limits.OperatorStateBytes); n > limit {
		return operatorStatePart{declined: coordinator.OperatorStateTooLarge(n, limit)}, nil
	}
	return operatorStatePart{packed: packed}, nil
}

func (p operatorStatePart) size() uint64 { return uint64(len(p.packed)) }

// handles are the parts of an ack of the memory backend.
func (p operatorStatePart) handles() []*holdfastv1.StateHandle {
	if p.packed == nil {
		return nil
	}
	return []*holdfastv1.StateHandle{coordinator.InlineOperatorState(p.packed)}
}

// putInto puts the part, or why there is none, into the ack of the memory backend.
func (p operatorStatePart) putInto(r *internalv1.Ready) {
	r.Handles, r.Declined, r.Jitter = p.handles(), p.declined, jitter()
	if p.packed == nil {
		return
	}
	if e := fitsEntry(r); e != nil {
		r.Handles, r.Declined = nil, e
	}
}

// fitsEntry judges a command with operator state of the memory backend. With long names
// and many positions it may not fit although the state is below its bound.
func fitsEntry(c proto.Message) *holdfastv1.Error {
	n, limit := proto.Size(c), raftstore.MaxPayload-commandOverheadBytes
	if n <= limit {
		return nil
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
		fmt.Sprintf("the operator state and the positions of a subtask have %d bytes, at most %d fit into one entry of the log; keep less, use shorter names or another state backend", n, limit))
}

// write writes the part, nil for none.
func (p operatorStatePart) write(ctx context.Context, files backend.Files) (*holdfastv1.StateHandle, error) {
	if p.packed == nil {
		return nil, nil
	}
	w, err := files.Create(ctx, coordinator.OperatorStateFormat, coordinator.OperatorStateFormat, false)
	if err != nil {
		return nil, fmt.Errorf("the operator state: %w", err)
	}
	if _, err := w.Write(p.packed); err != nil {
		w.Abort()
		return nil, fmt.Errorf("the operator state: %w", err)
	}
	h, err := w.Commit()
	if err != nil {
		return nil, fmt.Errorf("the operator state: %w", err)
	}
	return h, nil
}

// loadOperatorState reads the operator state of an attempt whose keyed state is in the
// log, and then gives the attempt to the client. The caller holds mu.
func (x *session) loadOperatorState(f facts) {
	token, ctx := x.hold.token, x.hold.ctx
	x.hold.opening = true
	x.s.goRun(func() {
		restored, err := x.operatorState(ctx, f, token)
		x.mu.Lock()
		defer x.mu.Unlock()
		switch {
		case x.hold.subtask == 0 || x.hold.token != token:
		case err != nil:
			x.openFailed(ctx, token, err)
		default:
			x.hold.opening = false
			f.restored = restored
			x.assigned(f)
		}
	})
}

// operatorState reads what an attempt begins with, as messages.
func (x *session) operatorState(ctx context.Context, f facts, token uint64) ([]*holdfastv1.RestoredOperatorState, error) {
	if len(f.operatorStates) == 0 || f.assign.RestoredCheckpointId == 0 {
		return nil, nil
	}
	sub, err := x.s.states.subjectOf(f.subtask.ID, token)
	if err != nil {
		return nil, err
	}
	log := x.log.With("subtask", f.subtask.ID, "checkpoint", sub.restore.CheckpointID, "what", "operator state")
	states, err := retryRestore(ctx, log, sub, time.Now(), func() ([]*holdfastv1.OperatorState, error) { return x.s.states.operatorState(ctx, sub) })
	if err != nil {
		return nil, err
	}
	return restoredMessages(token, states), nil
}

// restoredBytes is about what the contents of one RestoredOperatorState have.
const restoredBytes = 1 << 20

// restoredMessages deals contents out to messages; one that does not fit goes on in
// the next.
func restoredMessages(token uint64, states []*holdfastv1.OperatorState) (out []*holdfastv1.RestoredOperatorState) {
	room := 0
	for _, s := range states {
		for rest := s.Content; len(rest) > 0; {
			if room == 0 {
				out = append(out, &holdfastv1.RestoredOperatorState{FencingToken: token})
				room = restoredBytes
			}
			n := min(len(rest), room)
			m := out[len(out)-1]
			m.States = append(m.States, &holdfastv1.OperatorState{OperatorUid: s.OperatorUid, StateName: s.StateName, Content: rest[:n]})
			rest, room = rest[n:], room-n
		}
	}
	return out
}
