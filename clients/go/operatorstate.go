package holdfast

import (
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CheckpointedFunction is what any function may also be: SnapshotState is called at the
// barrier of each checkpoint, between two records, before the operator state is taken,
// and with 0 at the end of a bounded source. It is where a function puts what it keeps
// in fields into its operator state. An error declines the checkpoint.
//
// Flink's initializeState is Open here: operator state is restored when the call that
// declares it returns.
type CheckpointedFunction interface {
	SnapshotState(checkpointID uint64) error
}

// OperatorListStateDescriptor declares a list that a subtask has for itself, and not
// for a key. T is as in ValueStateDescriptor.
type OperatorListStateDescriptor[T any] struct {
	// Name is unique in the operator, among its keyed states too. State is found again
	// by it.
	Name string
	// TypeVersion counts the changes of T, by the program's own count.
	TypeVersion uint32
}

// OperatorListState is a list of the subtask. It lives in the memory of this process
// and is written with checkpoints, as a whole: it is for what is small. All operator
// states of a subtask together have at most 128 KiB on the memory backend and 2 MiB on
// the others; a checkpoint that finds more is declined. A job without checkpoints
// cannot have any.
//
// It may be used in Open, while a record is processed, and in SnapshotState, by the
// function that got it.
type OperatorListState[T any] struct {
	op    *operatorContext
	name  string
	codec codec[T]
	// list is encoded. Bytes in it are never changed in place: a snapshot shares them.
	list []byte
	item []byte
}

// GetOperatorListState declares a list whose elements are dealt out evenly when the
// parallelism changes; at the same one every subtask gets its own back. It is called in
// Open, and in each Open with the same descriptors. It is Flink's
// OperatorStateStore.getListState.
func GetOperatorListState[T any](ctx RuntimeContext, d OperatorListStateDescriptor[T]) (*OperatorListState[T], error) {
	return listOf(ctx, d, holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE)
}

// GetUnionListState declares a list of which every subtask gets the elements of all
// when it is restored, also at the same parallelism: keep your own with Update, or
// it grows. It is called as GetOperatorListState. It is Flink's
// OperatorStateStore.getUnionListState.
func GetUnionListState[T any](ctx RuntimeContext, d OperatorListStateDescriptor[T]) (*OperatorListState[T], error) {
	return listOf(ctx, d, holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION)
}

func listOf[T any](ctx RuntimeContext, d OperatorListStateDescriptor[T], mode holdfastv1.OperatorStateMode) (*OperatorListState[T], error) {
	op := ctx.operator()
	c, err := newCodec[T]()
	if err != nil {
		return nil, fmt.Errorf("operator state %q: %w", d.Name, err)
	}
	s := &OperatorListState[T]{op: op, name: d.Name, codec: c}
	s.list, err = op.declareOperatorState(&holdfastv1.OperatorStateDescriptor{
		Name: d.Name, Mode: mode, Type: c.name, TypeVersion: d.TypeVersion,
	}, func() []byte { return s.list[:len(s.list):len(s.list)] })
	if err == nil {
		_, err = statevalue.CheckList(s.list, false, 0)
	}
	if err != nil {
		return nil, s.wrap("declare", err)
	}
	return s, nil
}

// Get is the list. The slice is the caller's.
func (s *OperatorListState[T]) Get() ([]T, error) {
	if err := s.op.usable(); err != nil {
		return nil, err
	}
	var out []T
	for rest := s.list; len(rest) > 0; {
		e, next, err := statevalue.NextElement(rest, false)
		if err != nil {
			return nil, s.wrap("get", err)
		}
		v, err := s.codec.decode(e.Value)
		if err != nil {
			return nil, s.wrap("get", err)
		}
		out, rest = append(out, v), next
	}
	return out, nil
}

// Add puts an element at the end of the list.
func (s *OperatorListState[T]) Add(v T) error { return s.AddAll(v) }

// AddAll puts elements at the end of the list.
func (s *OperatorListState[T]) AddAll(values ...T) error {
	list, err := s.encode(s.list, values)
	if err == nil {
		s.list = list
	}
	return s.wrap("add", err)
}

// Update replaces the whole list. No values are Clear.
func (s *OperatorListState[T]) Update(values []T) error {
	list, err := s.encode(nil, values)
	if err == nil {
		s.list = list
	}
	return s.wrap("update", err)
}

// Clear removes all elements.
func (s *OperatorListState[T]) Clear() error { return s.Update(nil) }

func (s *OperatorListState[T]) encode(dst []byte, values []T) (_ []byte, err error) {
	if err := s.op.usable(); err != nil {
		return nil, err
	}
	for _, v := range values {
		if s.item, err = s.codec.encode(s.item[:0], v); err != nil {
			return nil, err
		}
		dst = statevalue.AppendElement(dst, s.item)
	}
	return dst, nil
}

func (s *OperatorListState[T]) wrap(what string, err error) error {
	return wrapOperatorState(s.name, what, err)
}

func wrapOperatorState(name, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("operator state %q: %s: %w", name, what, err)
}

// declareOperatorState adds an operator state: to the job's specification while it is
// planned, and in an attempt to what a snapshot takes. It returns what the attempt
// begins with.
func (op *operatorContext) declareOperatorState(d *holdfastv1.OperatorStateDescriptor, content func() []byte) ([]byte, error) {
	switch {
	case d.Name == "":
		return nil, errStateName
	case op.opened:
		return nil, errors.New("state may be declared only in Open")
	case op.hasState(d.Name):
		return nil, errors.New("the operator has two states of this name")
	}
	op.operatorStates = append(op.operatorStates, d)
	op.contents = append(op.contents, content)
	if op.restored == nil {
		return nil, nil
	}
	return op.restored(op.uid, d.Name), nil
}

// hasState tells whether a state of any kind is declared.
func (op *operatorContext) hasState(name string) bool {
	for _, d := range op.states {
		if d.GetName() == name {
			return true
		}
	}
	for _, d := range op.operatorStates {
		if d.GetName() == name {
			return true
		}
	}
	return false
}

// usable tells whether operator state may still be used: an attempt may be taken away
// while user code runs.
func (op *operatorContext) usable() error {
	if op.rt == nil {
		return nil
	}
	return op.rt.Err()
}

// stateful tells whether a function takes part in cuts beyond its keyed state.
func (op *operatorContext) stateful(fn any) bool {
	_, hook := fn.(CheckpointedFunction)
	return hook || len(op.operatorStates) > 0
}

// snapshot takes the operator state of a function. What it returns does not change.
func (op *operatorContext) snapshot(checkpoint uint64, fn any) ([]*holdfastv1.OperatorState, error) {
	if c, ok := fn.(CheckpointedFunction); ok {
		if err := c.SnapshotState(checkpoint); err != nil {
			return nil, fmt.Errorf("SnapshotState of %s: %w", op.uid, err)
		}
	}
	var out []*holdfastv1.OperatorState
	for i, d := range op.operatorStates {
		out = append(out, &holdfastv1.OperatorState{OperatorUid: op.uid, StateName: d.GetName(), Content: op.contents[i]()})
	}
	return out, nil
}
