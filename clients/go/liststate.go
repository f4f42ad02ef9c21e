package holdfast

import (
	"fmt"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ListStateDescriptor declares a state with a list for each key. T is as in
// ValueStateDescriptor. All elements of a key together are bounded by the limit of a
// value (128 KiB).
type ListStateDescriptor[T any] struct {
	// Name is unique in the operator. State is found again by it.
	Name string
	// TypeVersion counts the changes of T, by the program's own count.
	TypeVersion uint32
	// TTL is how long an element lives; the zero StateTTLConfig: for ever.
	TTL StateTTLConfig
}

// ListState is the list of the key of the record in hand. It may be used only while a
// record is processed, by the function that got it. A program that only adds never
// reads: elements go to the node without the list being fetched.
type ListState[T any] struct {
	op      *operatorContext
	index   int
	codec   codec[T]
	perItem int // bytes of an element beside its value
	scratch []byte
	item    []byte
}

// GetListState declares a state and returns access to it. It is called in Open, and in
// each Open with the same descriptors.
func GetListState[T any](ctx RuntimeContext, d ListStateDescriptor[T]) (*ListState[T], error) {
	op := ctx.operator()
	c, err := newCodec[T]()
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	s := &ListState[T]{op: op, codec: c}
	if d.TTL.set {
		s.perItem = statevalue.TimeBytes
	}
	s.index, err = op.declare(stateDeclaration{
		name: d.Name, kind: holdfastv1.StateKind_STATE_KIND_LIST, typ: c.name, version: d.TypeVersion, ttl: d.TTL, op: statevalue.OpAppend,
	})
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	return s, nil
}

// Get is the list of the current key, empty where it has none. The slice is the
// caller's.
func (s *ListState[T]) Get() ([]T, error) {
	e, err := s.op.known(s.index)
	if err != nil {
		return nil, err
	}
	var out []T
	err = e.Elements(func(b []byte) error {
		v, err := s.codec.decode(b)
		out = append(out, v)
		return err
	})
	if err != nil {
		return nil, s.wrap("get", err)
	}
	return out, nil
}

// Add puts an element at the end of the list.
func (s *ListState[T]) Add(v T) error { return s.AddAll(v) }

// AddAll puts elements at the end of the list.
func (s *ListState[T]) AddAll(values ...T) error {
	e, err := s.op.entry(s.index)
	if err != nil || len(values) == 0 {
		return err
	}
	if err = s.encode(values); err == nil {
		err = s.op.room(e, len(s.scratch)+s.perItem*len(values))
	}
	if err == nil {
		err = e.Apply(statevalue.OpAppend, s.scratch)
	}
	return s.wrap("add", err)
}

// Update replaces the whole list. No values are Clear.
func (s *ListState[T]) Update(values []T) error {
	if len(values) == 0 {
		return s.Clear()
	}
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	if err = s.encode(values); err == nil {
		err = s.op.rt.CheckValueBytes(len(s.scratch) + s.perItem*len(values))
	}
	if err == nil {
		err = e.Apply(statevalue.OpPut, s.scratch)
	}
	return s.wrap("update", err)
}

// Clear removes the list of the current key.
func (s *ListState[T]) Clear() error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	return s.wrap("clear", e.Apply(statevalue.OpDelete, nil))
}

func (s *ListState[T]) encode(values []T) (err error) {
	s.scratch = s.scratch[:0]
	for _, v := range values {
		if s.item, err = s.codec.encode(s.item[:0], v); err != nil {
			return err
		}
		s.scratch = statevalue.AppendElement(s.scratch, s.item)
	}
	return nil
}

func (s *ListState[T]) wrap(what string, err error) error { return s.op.stateError(s.index, what, err) }
