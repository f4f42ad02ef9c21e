package holdfast

import (
	"log/slog"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// Record is one record of a source, as a deserializer sees it.
type Record = source.Record

// Deserializer makes a value of a record. The record's bytes are valid only
// until it returns. An error fails the attempt.
type Deserializer[T any] func(Record) (T, error)

// SimpleStringSchema takes the value of a record as text.
func SimpleStringSchema(r Record) (string, error) { return string(r.Value), nil }

// Collector takes the results of a function.
type Collector[T any] interface {
	Collect(value T)
}

// MapFunction makes one value of one.
type MapFunction[IN, OUT any] interface {
	Map(value IN) (OUT, error)
}

// FlatMapFunction makes any number of values of one.
type FlatMapFunction[IN, OUT any] interface {
	FlatMap(value IN, out Collector[OUT]) error
}

// FilterFunction keeps the values for which it returns true.
type FilterFunction[T any] interface {
	Filter(value T) (bool, error)
}

// KeyedProcessFunction is a FlatMapFunction that is told the key.
type KeyedProcessFunction[K Key, IN, OUT any] interface {
	ProcessElement(value IN, key K, out Collector[OUT]) error
}

// RichFunction is what any function may also be: Open is called before the
// first record of each attempt, and is where state is declared.
//
// Open is also called once by Execute, with nothing to process afterwards,
// because the job's specification names the states.
type RichFunction interface {
	Open(ctx RuntimeContext) error
}

// Closer is what any function may also be: Close is called at the end of each
// attempt, and after the Open of Execute.
type Closer interface {
	Close() error
}

// RuntimeContext tells a function where it runs.
type RuntimeContext interface {
	JobName() string
	OperatorUID() string
	// SubtaskIndex is from 0 to Parallelism-1.
	SubtaskIndex() int
	Parallelism() int
	// Attempt rises with each new attempt. It is 0 in the Open of Execute.
	Attempt() uint64
	Logger() *slog.Logger

	operator() *operatorContext
}

// MapFunc makes a MapFunction of a plain function.
type MapFunc[IN, OUT any] func(value IN) (OUT, error)

// Map implements MapFunction.
func (f MapFunc[IN, OUT]) Map(value IN) (OUT, error) { return f(value) }

// FlatMapFunc makes a FlatMapFunction of a plain function.
type FlatMapFunc[IN, OUT any] func(value IN, out Collector[OUT]) error

// FlatMap implements FlatMapFunction.
func (f FlatMapFunc[IN, OUT]) FlatMap(value IN, out Collector[OUT]) error { return f(value, out) }

// FilterFunc makes a FilterFunction of a plain function.
type FilterFunc[T any] func(value T) (bool, error)

// Filter implements FilterFunction.
func (f FilterFunc[T]) Filter(value T) (bool, error) { return f(value) }
