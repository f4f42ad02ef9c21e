package holdfast

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ValueStateDescriptor declares a state with one value for each key.
//
// T may be an integer (kept as int64), float64, bool, string, []byte, a proto
// message (by pointer), or anything that encoding/json can write and read.
type ValueStateDescriptor[T any] struct {
	// Name is unique in the operator. State is found again by it.
	Name string
	// Default is what Value returns for a key without a value.
	Default T
	// TypeVersion counts the changes of T, by the program's own count.
	TypeVersion uint32
	// TTL is how long a value lives; the zero StateTTLConfig: for ever.
	TTL StateTTLConfig
}

// ValueState is the value of the key of the record in hand. It may be used only
// while a record is processed, by the function that got it.
type ValueState[T any] struct {
	op    *operatorContext
	index int
	codec codec[T]
	// zero is the default value where T is immutable, zeroBytes where it is not.
	zero      T
	zeroBytes []byte
	scratch   []byte
	ttl       bool
}

// Errors of the use of state.
var (
	errNoRecord  = errors.New("state may be used only while a record is processed")
	errNotKeyed  = errors.New("state needs a keyed stream: use KeyBy before this operator")
	errStateName = errors.New("a state needs a name")
)

// GetState declares a state and returns access to it. It is called in Open, and
// in each Open with the same descriptors.
func GetState[T any](ctx RuntimeContext, d ValueStateDescriptor[T]) (*ValueState[T], error) {
	op := ctx.operator()
	c, err := newCodec[T]()
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	s := &ValueState[T]{op: op, codec: c, zero: d.Default}
	if c.mutable && !isNil(d.Default) {
		if s.zeroBytes, err = c.encode([]byte{}, d.Default); err != nil {
			return nil, fmt.Errorf("state %q: encode the default: %w", d.Name, err)
		}
	}
	s.ttl = d.TTL.set
	s.index, err = op.declare(stateDeclaration{
		name: d.Name, kind: holdfastv1.StateKind_STATE_KIND_VALUE, typ: c.name, version: d.TypeVersion, ttl: d.TTL,
	})
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	return s, nil
}

// Value is the value of the current key, or the default.
func (s *ValueState[T]) Value() (T, error) {
	e, err := s.op.entry(s.index)
	if err != nil {
		return s.zero, err
	}
	b, found := e.Value()
	if s.ttl {
		if b, found, err = e.Read(); err != nil {
			return s.zero, fmt.Errorf("state %q: %w", s.op.states[s.index].GetName(), err)
		}
	}
	if !found {
		if s.zeroBytes == nil {
			return s.zero, nil
		}
		b = s.zeroBytes
	}
	v, err := s.codec.decode(b)
	if err != nil {
		return v, fmt.Errorf("state %q: decode: %w", s.op.states[s.index].GetName(), err)
	}
	return v, nil
}

// Update sets the value of the current key.
func (s *ValueState[T]) Update(v T) error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	s.scratch, err = s.codec.encode(s.scratch[:0], v)
	size := len(s.scratch)
	if s.ttl {
		size += statevalue.TimeBytes
	}
	if err == nil {
		err = s.op.rt.CheckValueBytes(size)
	}
	if err != nil {
		return fmt.Errorf("state %q: update: %w", s.op.states[s.index].GetName(), err)
	}
	if s.ttl {
		return e.Apply(statevalue.OpPut, s.scratch)
	}
	e.Put(s.scratch)
	return nil
}

// Clear removes the value of the current key.
func (s *ValueState[T]) Clear() error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	if s.ttl {
		return e.Apply(statevalue.OpDelete, nil)
	}
	e.Delete()
	return nil
}

func isNil(v any) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// entry is the entry of the current key in one state.
func (op *operatorContext) entry(index int) (*workingcopy.Entry, error) {
	if op.rt == nil || op.current == nil {
		return nil, errNoRecord
	}
	if err := op.rt.Err(); err != nil {
		return nil, err
	}
	return op.current[index], nil
}
