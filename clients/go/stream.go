package holdfast

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Stream is a DataStream or a KeyedStream.
type Stream[T any] interface {
	stream() *DataStream[T]
	// keying is nil where the stream has no key.
	keying() *keying[T]
}

// DataStream is a stream of values of one type.
type DataStream[T any] struct {
	env  *StreamExecutionEnvironment
	node *node
	// consumers make the operators behind this one, for each attempt anew.
	consumers []consumer[T]
}

// consumer makes one operator. direct tells that it is behind a stage already.
type consumer[T any] func(b *builder, direct bool) (func(T) error, error)

// KeyedStream is a stream whose values have a key.
type KeyedStream[K Key, T any] struct {
	base     *DataStream[T]
	selector func(T) K
	by       *keying[T]
}

// keying is how an operator behind KeyBy finds the key.
type keying[T any] struct {
	encode       func(dst []byte, v T) []byte
	partitioning holdfastv1.Partitioning
}

func (s *DataStream[T]) stream() *DataStream[T] { return s }
func (s *DataStream[T]) keying() *keying[T]     { return nil }

func (s *KeyedStream[K, T]) stream() *DataStream[T] { return s.base }
func (s *KeyedStream[K, T]) keying() *keying[T]     { return s.by }

// FromSource begins a stream with what a source reads. The uid names the source
// in the job: positions belong to it.
func FromSource[T any](env *StreamExecutionEnvironment, uid string, src source.Source, deserialize Deserializer[T]) *DataStream[T] {
	n := env.add(&node{uid: uid, name: "Source: " + uid, source: src})
	s := &DataStream[T]{env: env, node: n}
	if isNilValue(src) || deserialize == nil {
		env.problem(fmt.Errorf("source %q needs a source and a deserializer", uid))
	}
	n.build = func(b *builder) (func(Record) error, error) {
		out, err := s.connect(b, false)
		return func(r Record) error {
			v, err := deserialize(r)
			if err != nil {
				return fmt.Errorf("deserialize %s[%d] offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			return out(v)
		}, err
	}
	return s
}

// KeyBy gives each value a key. With a parallelism above 1 use
// KeyByCoPartitioned.
func KeyBy[K Key, T any](s *DataStream[T], selector func(T) K) *KeyedStream[K, T] {
	return keyBy(s, selector, holdfastv1.Partitioning_PARTITIONING_HASH)
}

// KeyByCoPartitioned is KeyBy for a source that is partitioned by this key
// already, as a Kafka topic is whose producers use it for theirs: all values of
// a key come from one partition. Nothing checks that. It is what Flink calls
// DataStreamUtils.reinterpretAsKeyedStream; the key group of a value is the
// partition that it came from.
func KeyByCoPartitioned[K Key, T any](s *DataStream[T], selector func(T) K) *KeyedStream[K, T] {
	return keyBy(s, selector, holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED)
}

func keyBy[K Key, T any](s *DataStream[T], selector func(T) K, p holdfastv1.Partitioning) *KeyedStream[K, T] {
	if selector == nil {
		s.env.problem(errors.New("KeyBy needs a function"))
	}
	encode := keyEncoder[K]()
	return &KeyedStream[K, T]{base: s, selector: selector, by: &keying[T]{
		partitioning: p,
		encode:       func(dst []byte, v T) []byte { return encode(dst, selector(v)) },
	}}
}

// connect makes the operators behind this stream and passes each value to all.
func (s *DataStream[T]) connect(b *builder, direct bool) (func(T) error, error) {
	var outs []func(T) error
	for _, c := range s.consumers {
		out, err := c(b, direct)
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	if len(outs) == 1 {
		return outs[0], nil
	}
	return func(v T) error {
		for _, out := range outs {
			if err := out(v); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// Print writes each value as one line to standard output. With checkpoints it
// writes at once, so a restart may repeat lines; without, when what the lines
// tell is durable.
func (s *DataStream[T]) Print() { s.PrintTo(os.Stdout) }

// PrintTo is Print to another writer. It gets whole lines, at most one Write
// for each batch of records.
func (s *DataStream[T]) PrintTo(w io.Writer) {
	if isNilValue(w) {
		s.env.problem(errors.New("PrintTo needs a writer"))
	}
	s.env.add(&node{
		uid: s.env.sinkUID(s.node.uid), name: "Sink: Print",
		inputs: []edge{{s.node, holdfastv1.Partitioning_PARTITIONING_FORWARD}},
	})
	lines := s.env.writer(w)
	s.consumers = append(s.consumers, func(b *builder, direct bool) (func(T) error, error) {
		p := &printer[T]{out: &slot.Output{W: lines}}
		b.task.outputs = append(b.task.outputs, p.out)
		return unkeyed(b, direct, p.print), nil
	})
}

func isNilValue(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}
