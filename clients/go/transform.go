package holdfast

import (
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Map applies fn to each value. A pointer to a struct is copied for each
// attempt, so what Open puts into its fields belongs to that attempt.
//
// A function on a stream without a key may be called for some records ahead of
// the operators behind it; it is no place for side effects.
func Map[IN, OUT any](s Stream[IN], uid string, fn MapFunction[IN, OUT]) *DataStream[OUT] {
	return transform(s, uid, "Map", fn, func(fn MapFunction[IN, OUT], out emitter[OUT]) func(IN) error {
		return func(v IN) error {
			r, err := fn.Map(v)
			if err != nil {
				return err
			}
			return out(r)
		}
	})
}

// Filter keeps the values that fn wants. See Map.
func Filter[T any](s Stream[T], uid string, fn FilterFunction[T]) *DataStream[T] {
	return transform(s, uid, "Filter", fn, func(fn FilterFunction[T], out emitter[T]) func(T) error {
		return func(v T) error {
			keep, err := fn.Filter(v)
			if err != nil || !keep {
				return err
			}
			return out(v)
		}
	})
}

// FlatMap applies fn to each value. See Map.
func FlatMap[IN, OUT any](s Stream[IN], uid string, fn FlatMapFunction[IN, OUT]) *DataStream[OUT] {
	return transform(s, uid, "FlatMap", fn, func(fn FlatMapFunction[IN, OUT], out emitter[OUT]) func(IN) error {
		c := &collector[OUT]{emit: out}
		return func(v IN) error {
			if err := fn.FlatMap(v, c); err != nil {
				return err
			}
			return c.err
		}
	})
}

// Process applies fn to each value and its key. See Map.
func Process[K Key, IN, OUT any](s *KeyedStream[K, IN], uid string, fn KeyedProcessFunction[K, IN, OUT]) *DataStream[OUT] {
	return transform(s, uid, "KeyedProcess", fn, func(fn KeyedProcessFunction[K, IN, OUT], out emitter[OUT]) func(IN) error {
		c := &collector[OUT]{emit: out}
		return func(v IN) error {
			if err := fn.ProcessElement(v, s.selector(v), c); err != nil {
				return err
			}
			return c.err
		}
	})
}

type emitter[T any] func(T) error

// collector keeps the error of what is behind it, since Collect returns none.
type collector[T any] struct {
	emit emitter[T]
	err  error
}

// Collect implements Collector.
func (c *collector[T]) Collect(v T) {
	if c.err == nil {
		c.err = c.emit(v)
	}
}

// transform adds an operator. bind makes what handles one value.
func transform[IN, OUT, F any](s Stream[IN], uid, kind string, fn F, bind func(F, emitter[OUT]) func(IN) error) *DataStream[OUT] {
	in, by := s.stream(), s.keying()
	partitioning := holdfastv1.Partitioning_PARTITIONING_FORWARD
	if by != nil {
		partitioning = by.partitioning
	}
	n := in.env.add(&node{uid: uid, name: kind + ": " + uid, inputs: []edge{{in.node, partitioning}}})
	out := &DataStream[OUT]{env: in.env, node: n}
	if isNilValue(fn) {
		in.env.problem(fmt.Errorf("operator %q needs a function", uid))
		return out
	}
	n.plan = func(op *operatorContext) error { return plan(op, fn) }
	in.consumers = append(in.consumers, func(b *builder, direct bool) (func(IN) error, error) {
		return build(b, direct, out, by, instance(fn), bind)
	})
	return out
}

// plan learns the states of a function by opening a copy of it.
func plan[F any](op *operatorContext, fn F) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f := instance(fn)
	if err := op.open(f); err != nil {
		return err
	}
	return closeFunction(f)
}

// build makes the operator of one attempt, and everything behind it.
func build[IN, OUT, F any](b *builder, direct bool, out *DataStream[OUT], by *keying[IN], fn F, bind func(F, emitter[OUT]) func(IN) error) (func(IN) error, error) {
	op := b.context(out.node.uid, by != nil)
	if err := b.open(op, fn); err != nil {
		return nil, err
	}
	if by == nil {
		own := !direct && op.stateful(fn) // a stage
		emit, err := out.connect(b, direct || own)
		return unkeyed(b, !own, bind(fn, emit)), err
	}
	stage := &keyedStage[IN]{op: op, task: b.task, encode: by.encode}
	if !direct {
		b.task.stages = append(b.task.stages, stage)
	}
	emit, err := out.connect(b, true)
	stage.call = bind(fn, emit)
	if direct {
		return stage.direct, err
	}
	return stage.collect, err
}
