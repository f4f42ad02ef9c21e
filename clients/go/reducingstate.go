package holdfast

import (
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ReduceFunction makes one value of two. It must be associative.
type ReduceFunction[T any] interface {
	Reduce(a, b T) (T, error)
}

// ReduceFunc makes a ReduceFunction of a plain function.
type ReduceFunc[T any] func(a, b T) (T, error)

// Reduce implements ReduceFunction.
func (f ReduceFunc[T]) Reduce(a, b T) (T, error) { return f(a, b) }

// ReducingStateDescriptor declares a state that keeps one value for each key: what a
// function makes of all that was added. T is as in ValueStateDescriptor.
//
// With Sum of integers, Min and Max the node does it: what is added goes there, and
// nothing is fetched until Get. Every other function runs here.
type ReducingStateDescriptor[T any] struct {
	// Name is unique in the operator. State is found again by it.
	Name   string
	Reduce ReduceFunction[T]
	// TypeVersion counts the changes of T, by the program's own count.
	TypeVersion uint32
	// TTL is how long the value lives after something was added; the zero
	// StateTTLConfig: for ever.
	TTL StateTTLConfig
}

// ReducingState is what was added for the key of the record in hand. It may be used
// only while a record is processed, by the function that got it.
type ReducingState[T any] struct {
	value accumulator[T]
	fn    ReduceFunction[T]
}

// GetReducingState declares a state and returns access to it. It is called in Open,
// and in each Open with the same descriptors.
func GetReducingState[T any](ctx RuntimeContext, d ReducingStateDescriptor[T]) (*ReducingState[T], error) {
	s := &ReducingState[T]{fn: d.Reduce}
	if isNilValue(d.Reduce) {
		return nil, fmt.Errorf("state %q: %w", d.Name, errNoFunction)
	}
	var op statevalue.Op
	if b, ok := d.Reduce.(nodeOp); ok {
		op = b.nodeOp()
	}
	err := s.value.declare(ctx.operator(), stateDeclaration{
		name: d.Name, kind: holdfastv1.StateKind_STATE_KIND_REDUCING, version: d.TypeVersion, ttl: d.TTL, op: op,
	})
	return s, err
}

// Add adds a value.
func (s *ReducingState[T]) Add(v T) error {
	if s.value.nodeOp != 0 {
		return s.value.apply(v)
	}
	old, found, err := s.value.get()
	if err != nil {
		return err
	}
	if found {
		if v, err = s.fn.Reduce(old, v); err != nil {
			return err
		}
	}
	return s.value.put(v)
}

// Get is the value of all that was added; found is false where nothing was.
func (s *ReducingState[T]) Get() (value T, found bool, err error) { return s.value.get() }

// Clear forgets what was added.
func (s *ReducingState[T]) Clear() error { return s.value.clear() }

var errNoFunction = errors.New("the state needs a function")

// nodeOp is what a function has that nodes can do.
type nodeOp interface{ nodeOp() statevalue.Op }

// accumulator is one value for each key, which may be changed without being known.
type accumulator[T any] struct {
	op      *operatorContext
	index   int
	codec   codec[T]
	nodeOp  statevalue.Op
	plain   bool
	perItem int
	scratch []byte
}

func (a *accumulator[T]) declare(op *operatorContext, d stateDeclaration) (err error) {
	if a.codec, err = newCodec[T](); err == nil {
		d.typ, a.op = a.codec.name, op
		if t := valueType(d.typ); !t.Numeric() || d.op == statevalue.OpAdd && t == statevalue.Float64 {
			d.op = 0 // sums of float64 depend on their order
		}
		a.nodeOp, a.plain = d.op, d.rules() == nil
		if d.ttl.set {
			a.perItem = statevalue.TimeBytes
		}
		a.index, err = op.declare(d)
	}
	if err != nil {
		return fmt.Errorf("state %q: %w", d.name, err)
	}
	return nil
}

func (a *accumulator[T]) get() (v T, found bool, err error) {
	e, err := a.op.known(a.index)
	if err != nil {
		return v, false, err
	}
	b, found := e.Value()
	if !a.plain {
		b, found, err = e.Read()
	}
	if err == nil && found {
		v, err = a.codec.decode(b)
	}
	return v, found, a.op.stateError(a.index, "get", err)
}

// apply adds with the node's own operation.
func (a *accumulator[T]) apply(v T) error {
	e, err := a.op.entry(a.index)
	if err != nil {
		return err
	}
	if a.scratch, err = a.codec.encode(a.scratch[:0], v); err == nil {
		err = e.Apply(a.nodeOp, a.scratch)
	}
	return a.op.stateError(a.index, "add", err)
}

func (a *accumulator[T]) put(v T) error {
	e, err := a.op.entry(a.index)
	if err != nil {
		return err
	}
	if a.scratch, err = a.codec.encode(a.scratch[:0], v); err == nil {
		err = a.op.rt.CheckValueBytes(len(a.scratch) + a.perItem)
	}
	if err == nil && a.plain {
		e.Put(a.scratch)
	} else if err == nil {
		err = e.Apply(statevalue.OpPut, a.scratch)
	}
	return a.op.stateError(a.index, "add", err)
}

func (a *accumulator[T]) clear() error {
	e, err := a.op.entry(a.index)
	if err != nil {
		return err
	}
	if a.plain {
		e.Delete()
		return nil
	}
	return a.op.stateError(a.index, "clear", e.Apply(statevalue.OpDelete, nil))
}
