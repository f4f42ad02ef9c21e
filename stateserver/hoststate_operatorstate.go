package stateserver

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
)

// operatorState reads what an attempt begins with of the operator state: its share of
// what all subtasks of its operators had in the restore point.
func (m *hostStates) operatorState(ctx context.Context, sub *subject) ([]*holdfastv1.OperatorState, error) {
	old, done, err := m.operatorStatesBefore(ctx, sub)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []*holdfastv1.OperatorState
	for rest := sub.operatorStates; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].OperatorUID == rest[0].OperatorUID {
			n++
		}
		before, err := old(rest[:n])
		if err != nil {
			return nil, err
		}
		dealt, err := coordinator.DistributeOperatorStates(rest[:n], before, int(sub.parallelism))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
		}
		out, rest = append(out, dealt[sub.index]...), rest[n:]
	}
	if e := coordinator.CheckBeginsWith(sub.operatorStates, out); e != nil {
		return nil, errRestore{e}
	}
	return out, nil
}

// operatorStatesBefore gives what the subtasks had of an operator's states, in the order
// of their indexes; of a parallelism that stays the own part alone, unless there is a
// union: that all attempts read all parts takes the square of them. done is called when
// nothing more is asked.
func (m *hostStates) operatorStatesBefore(ctx context.Context, sub *subject) (old func(declared []coordinator.DeclaredOperatorState) ([]*holdfastv1.OperatorStates, error), done func(), err error) {
	if sub.restore.From == nil {
		all, err := m.ownOperatorStates(ctx, sub)
		return func([]coordinator.DeclaredOperatorState) ([]*holdfastv1.OperatorStates, error) { return all, nil }, func() {}, err
	}
	r, err := m.openRestore(ctx, sub)
	if err != nil {
		return nil, nil, err
	}
	return func(declared []coordinator.DeclaredOperatorState) ([]*holdfastv1.OperatorStates, error) {
		uid := declared[0].OperatorUID
		was := r.Operator(uid).GetOperator().GetParallelism()
		if e := coordinator.CheckRestoredOperatorState(declared, r.OperatorStateBytes(uid), was, sub.parallelism); e != nil {
			return nil, errRestore{e}
		}
		if was == sub.parallelism && coordinator.UnionState(declared) == nil {
			return r.OperatorStatesOf(ctx, uid, sub.index)
		}
		return r.OperatorStates(ctx, uid)
	}, func() { _ = r.Close() }, nil
}

// ownOperatorStates reads a checkpoint of the job itself, whose parallelism is always
// the same.
func (m *hostStates) ownOperatorStates(ctx context.Context, sub *subject) ([]*holdfastv1.OperatorStates, error) {
	parts := sub.restore.OperatorState
	if e := coordinator.CheckRestoredOperatorState(sub.operatorStates, handlesBytes(parts), sub.parallelism, sub.parallelism); e != nil {
		return nil, errRestore{e}
	}
	union := coordinator.UnionState(sub.operatorStates) != nil
	all := make([]*holdfastv1.OperatorStates, len(parts))
	for i, h := range parts {
		if !union && i != int(sub.index) {
			continue
		}
		var err error
		if all[i], err = m.readOperatorState(ctx, sub.view.JobID, sub.spec.Checkpoint, h); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// openRestore opens the snapshot that a job was submitted with, if it is still that
// one.
func (m *hostStates) openRestore(ctx context.Context, sub *subject) (*snapshots.Reader, error) {
	from := sub.restore.From
	r, err := m.openSnapshot(ctx, from.From.GetPath())
	if err != nil {
		return nil, err
	}
	if want := from.MetadataSha256; len(want) > 0 && !bytes.Equal(r.SHA256(), want) {
		_ = r.Close() // it was only read
		return nil, fmt.Errorf("%w: the manifest in %s is not the one that the job was submitted with", backend.ErrDamaged, r.URL())
	}
	return r, nil
}

// readOperatorState reads a part of a checkpoint of a job, nil for none.
func (m *hostStates) readOperatorState(ctx context.Context, jobID string, c *holdfastv1.CheckpointConfig, h *holdfastv1.StateHandle) (*holdfastv1.OperatorStates, error) {
	if h == nil {
		return nil, nil
	}
	if h.Size > coordinator.MaxOperatorStatePart {
		return nil, fmt.Errorf("%w: the operator state of a subtask has %d bytes, which none can have", backend.ErrDamaged, h.Size)
	}
	packed := h.Inline
	if h.File != "" {
		files, err := m.filesOf(ctx, jobID, 0, c, 0, 0)
		if err != nil {
			return nil, err
		}
		in, err := files.Open(ctx, h)
		if err != nil {
			return nil, err
		}
		packed, err = io.ReadAll(io.LimitReader(in, coordinator.MaxOperatorStatePart+1))
		_ = in.Close() // it was only read
		if err != nil {
			return nil, err
		}
	}
	out, err := coordinator.UnpackOperatorStates(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	return out, nil
}
