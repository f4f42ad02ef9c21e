package holdfast

import "github.com/holdfast-io/holdfast/internal/statevalue"

// Number is what Sum, Min, Max and Average work on.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~float32 | ~float64
}

// numberReduce is a ReduceFunction that nodes have, too.
type numberReduce[T Number] struct {
	op     statevalue.Op
	reduce func(a, b T) T
}

func (n numberReduce[T]) Reduce(a, b T) (T, error) { return n.reduce(a, b), nil }
func (n numberReduce[T]) nodeOp() statevalue.Op    { return n.op }

// Sum adds numbers up. Sums of integers are kept as int64 and wrap around.
func Sum[T Number]() ReduceFunction[T] {
	return numberReduce[T]{statevalue.OpAdd, func(a, b T) T { return a + b }}
}

// Min keeps the smallest number.
func Min[T Number]() ReduceFunction[T] {
	return numberReduce[T]{statevalue.OpMin, func(a, b T) T { return min(a, b) }}
}

// Max keeps the largest number.
func Max[T Number]() ReduceFunction[T] {
	return numberReduce[T]{statevalue.OpMax, func(a, b T) T { return max(a, b) }}
}

type counter[IN any] struct{}

func (counter[IN]) CreateAccumulator() int64  { return 0 }
func (counter[IN]) Add(_ IN, acc int64) int64 { return acc + 1 }
func (counter[IN]) GetResult(acc int64) int64 { return acc }
func (counter[IN]) Merge(a, b int64) int64    { return a + b }
func (counter[IN]) nodeOp() statevalue.Op     { return statevalue.OpAdd }

// Count counts values.
func Count[IN any]() AggregateFunction[IN, int64, int64] { return counter[IN]{} }

// Mean is the accumulator of Average.
type Mean struct {
	Sum   float64 `json:"sum"`
	Count int64   `json:"count"`
}

type average[IN Number] struct{}

func (average[IN]) CreateAccumulator() Mean { return Mean{} }
func (average[IN]) Add(v IN, acc Mean) Mean { return Mean{acc.Sum + float64(v), acc.Count + 1} }
func (average[IN]) Merge(a, b Mean) Mean    { return Mean{a.Sum + b.Sum, a.Count + b.Count} }
func (average[IN]) GetResult(acc Mean) float64 {
	return acc.Sum / float64(acc.Count)
}

// Average is the arithmetic mean of numbers.
func Average[IN Number]() AggregateFunction[IN, Mean, float64] { return average[IN]{} }
