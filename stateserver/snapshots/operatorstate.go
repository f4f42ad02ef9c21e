package snapshots

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// operatorStateSuffix tells the file of an operator state from that of keyed state.
const operatorStateSuffix = "." + coordinator.OperatorStateFormat

// operatorStateFile is the operator state of one subtask of an operator.
type operatorStateFile struct {
	op      *holdfastv1.Operator
	subtask coordinator.SubtaskRange
	src     Source
}

// put writes it beside the file of the keyed state, or into the manifest if it is
// small. nil: the subtask has none.
func (f operatorStateFile) put(ctx context.Context, to Target, name string) (*holdfastv1.Content, error) {
	all, err := f.src.OperatorStates(ctx, f.subtask)
	if err != nil {
		return nil, forGood(err)
	}
	packed, err := packOwn(all, f.op.Uid)
	if err != nil || packed == nil {
		return nil, err
	}
	h, err := storage.PutHandle(ctx, to.Files, name+operatorStateSuffix, to.Inline, to.Retry, func(w io.Writer) error {
		_, err := w.Write(packed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.Proto(), nil
}

// packOwn packs what one operator of a chain has, nil for nothing.
func packOwn(all *holdfastv1.OperatorStates, uid string) ([]byte, error) {
	own := &holdfastv1.OperatorStates{}
	for _, s := range all.GetStates() {
		if s.GetOperatorUid() == uid {
			own.States = append(own.States, s)
		}
	}
	if len(own.States) == 0 {
		return nil, nil
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(own)
}

// nativeOperatorState names the part of an ack that has the operator state of a chain.
// Inline each operator has its own of it only, or each would repeat that of all.
func nativeOperatorState(h *holdfastv1.StateHandle, uid string) *holdfastv1.Content {
	c := contentOf(h)
	if h == nil || h.File != "" {
		return c
	}
	all, err := coordinator.UnpackOperatorStates(h.Inline)
	if err != nil {
		return c // who reads it finds it damaged
	}
	packed, err := packOwn(all, uid)
	if err != nil {
		return c
	}
	if packed == nil {
		return nil
	}
	return &holdfastv1.Content{Handle: &holdfastv1.Content_Inline{Inline: packed}}
}

// OperatorStates are what the subtasks of an operator had, in the order of their
// indexes, nil for one without any. Errors: those of files, and backend.ErrDamaged.
func (r *Reader) OperatorStates(ctx context.Context, uid string) ([]*holdfastv1.OperatorStates, error) {
	o := r.Operator(uid)
	if o == nil {
		return nil, nil
	}
	return r.operatorStates(ctx, o, func(*holdfastv1.SubtaskSnapshot) bool { return true })
}

// OperatorStatesOf are OperatorStates with that of one subtask alone.
func (r *Reader) OperatorStatesOf(ctx context.Context, uid string, subtask uint32) ([]*holdfastv1.OperatorStates, error) {
	o := r.Operator(uid)
	if o == nil {
		return nil, nil
	}
	return r.operatorStates(ctx, o, func(s *holdfastv1.SubtaskSnapshot) bool { return s.Index == subtask })
}

// OperatorStateBytes is the size of the operator state of an operator, as the manifest
// has it.
func (r *Reader) OperatorStateBytes(uid string) uint64 { return operatorStateBytes(r.Operator(uid)) }

func operatorStateBytes(o *holdfastv1.OperatorSnapshot) (n uint64) {
	for _, s := range o.GetSubtasks() {
		n += uint64(len(s.OperatorState.GetInline())) + s.OperatorState.GetFile().GetSize()
	}
	return n
}

func (r *Reader) operatorStates(ctx context.Context, o *holdfastv1.OperatorSnapshot, want func(*holdfastv1.SubtaskSnapshot) bool) ([]*holdfastv1.OperatorStates, error) {
	out := make([]*holdfastv1.OperatorStates, o.GetOperator().GetParallelism())
	for _, s := range o.Subtasks {
		if s.OperatorState == nil || !want(s) {
			continue
		}
		all, err := r.readOperatorStates(ctx, s.OperatorState)
		if err != nil {
			return nil, fmt.Errorf("the operator state of subtask %d of operator %q: %w", s.Index, o.GetOperator().GetUid(), err)
		}
		out[s.Index] = all
	}
	return out, nil
}

func (r *Reader) readOperatorStates(ctx context.Context, c *holdfastv1.Content) (*holdfastv1.OperatorStates, error) {
	h, err := storage.HandleOf(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	if n := c.GetFile().GetSize(); n > coordinator.MaxOperatorStatePart {
		return nil, fmt.Errorf("%w: %s has %d bytes, which no operator state of a subtask can have", backend.ErrDamaged, r.name(h), n)
	}
	in, err := storage.Open(ctx, r.files, h)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	packed, err := io.ReadAll(io.LimitReader(in, coordinator.MaxOperatorStatePart+1))
	if err != nil {
		return nil, err
	}
	out, err := coordinator.UnpackOperatorStates(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", backend.ErrDamaged, r.name(h), err)
	}
	return out, nil
}

// OperatorState is an operator state of the snapshot, nil if it has none of this name.
func (r *Reader) OperatorState(uid, name string) *holdfastv1.OperatorStateDescriptor {
	for _, d := range r.Operator(uid).GetOperator().GetOperatorStates() {
		if d.GetName() == name {
			return d
		}
	}
	return nil
}
