package holdfast

import (
	"fmt"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// AggregateFunction makes an OUT of any number of INs, over an accumulator that is what
// the state keeps.
type AggregateFunction[IN, ACC, OUT any] interface {
	// CreateAccumulator begins without a value.
	CreateAccumulator() ACC
	// Add takes a value in.
	Add(value IN, accumulator ACC) ACC
	// GetResult is the result so far.
	GetResult(accumulator ACC) OUT
	// Merge makes one accumulator of two.
	Merge(a, b ACC) ACC
}

// AggregatingStateDescriptor declares a state that keeps an accumulator for each key.
// ACC is as T in ValueStateDescriptor.
//
// With Count the node does it: nothing is fetched until Get. Every other function runs
// here.
type AggregatingStateDescriptor[IN, ACC, OUT any] struct {
	// Name is unique in the operator. State is found again by it.
	Name      string
	Aggregate AggregateFunction[IN, ACC, OUT]
	// TypeVersion counts the changes of ACC, by the program's own count.
	TypeVersion uint32
	// TTL is how long the accumulator lives after something was added; the zero
	// StateTTLConfig: for ever.
	TTL StateTTLConfig
}

// AggregatingState is what was added for the key of the record in hand. It may be used
// only while a record is processed, by the function that got it.
type AggregatingState[IN, ACC, OUT any] struct {
	value accumulator[ACC]
	fn    AggregateFunction[IN, ACC, OUT]
}

// GetAggregatingState declares a state and returns access to it. It is called in Open,
// and in each Open with the same descriptors.
func GetAggregatingState[IN, ACC, OUT any](ctx RuntimeContext, d AggregatingStateDescriptor[IN, ACC, OUT]) (*AggregatingState[IN, ACC, OUT], error) {
	s := &AggregatingState[IN, ACC, OUT]{fn: d.Aggregate}
	if isNilValue(d.Aggregate) {
		return nil, fmt.Errorf("state %q: %w", d.Name, errNoFunction)
	}
	var op statevalue.Op
	if b, ok := d.Aggregate.(nodeOp); ok {
		op = b.nodeOp()
	}
	err := s.value.declare(ctx.operator(), stateDeclaration{
		name: d.Name, kind: holdfastv1.StateKind_STATE_KIND_AGGREGATING, version: d.TypeVersion, ttl: d.TTL, op: op,
	})
	return s, err
}

// Add adds a value.
func (s *AggregatingState[IN, ACC, OUT]) Add(v IN) error {
	if s.value.nodeOp != 0 {
		return s.value.apply(s.fn.Add(v, s.fn.CreateAccumulator()))
	}
	acc, found, err := s.value.get()
	if err != nil {
		return err
	}
	if !found {
		acc = s.fn.CreateAccumulator()
	}
	return s.value.put(s.fn.Add(v, acc))
}

// Get is the result for all that was added; found is false where nothing was.
func (s *AggregatingState[IN, ACC, OUT]) Get() (result OUT, found bool, err error) {
	acc, found, err := s.value.get()
	if err != nil || !found {
		return result, false, err
	}
	return s.fn.GetResult(acc), true, nil
}

// Clear forgets what was added.
func (s *AggregatingState[IN, ACC, OUT]) Clear() error { return s.value.clear() }
