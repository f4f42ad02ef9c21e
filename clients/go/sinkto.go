package holdfast

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	"github.com/holdfast-io/holdfast/clients/go/sink"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Serializer makes a record of a value: it fills r, which is empty and whose Value has
// room to append to. An error fails the attempt.
type Serializer[T any] func(value T, r *sink.Record) error

// SimpleStringSerializer puts text into the value of a record.
func SimpleStringSerializer(value string, r *sink.Record) error {
	r.Value = append(r.Value, value...)
	return nil
}

// SinkTo writes each value to a sink. The uid names the sink in the job.
//
// With checkpoints records leave at once, and with the guarantee at-least-once each
// checkpoint waits until what was put out before its cut is confirmed. Without
// checkpoints they leave when what they tell is durable in the state; what is not written
// yet when an attempt ends otherwise than by the end of its job or process is lost, so
// that only the guarantee none is possible.
func SinkTo[T any](s *DataStream[T], uid string, sk sink.Sink, serialize Serializer[T]) {
	n := s.env.add(&node{uid: uid, name: "Sink: " + uid, inputs: []edge{{s.node, holdfastv1.Partitioning_PARTITIONING_FORWARD}}, sink: sk})
	if isNilValue(sk) || serialize == nil {
		s.env.problem(fmt.Errorf("sink %q needs a sink and a serializer", uid))
		n.sink = nil
		return
	}
	s.consumers = append(s.consumers, func(b *builder, direct bool) (func(T) error, error) {
		w, err := b.openWriter(uid, sk)
		if err != nil {
			return nil, err
		}
		waits := n.sinkSpec.GetDeliveryGuarantee() == holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_AT_LEAST_ONCE
		k := &serializing[T]{serialize: serialize, room: []byte{}, out: &slot.Output{W: batchWriter{w}, Sink: w, Waits: waits}}
		b.task.outputs = append(b.task.outputs, k.out)
		return unkeyed(b, direct, k.add), nil
	})
}

// openWriter opens the writer of a sink for this attempt and closes it at its end.
func (b *builder) openWriter(uid string, sk sink.Sink) (sink.Writer, error) {
	w, err := sk.Open(context.Background(), sink.OpenOptions{Logger: b.log.With("operator", uid), Notify: b.rt.Notify})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", uid, err)
	}
	b.task.closers = append(b.task.closers, w.Close)
	return w, nil
}

// batchWriter is a sink's writer where bytes are written.
type batchWriter struct{ w sink.Writer }

// Write implements io.Writer. p is a batch of records.
func (b batchWriter) Write(p []byte) (int, error) { return len(p), b.w.Write(p) }

// serializing makes a record of each value.
type serializing[T any] struct {
	out       *slot.Output
	serialize Serializer[T]
	record    sink.Record
	room      []byte // for the value of the next record
}

func (s *serializing[T]) add(v T) error {
	r := &s.record
	*r = sink.Record{Value: s.room[:0], Headers: r.Headers[:0]}
	if err := s.serialize(v, r); err != nil {
		return fmt.Errorf("serialize: %w", err)
	}
	s.out.Buf = sink.Batch(s.out.Buf).Append(r)
	if len(r.Value) > cap(s.room) {
		// The room is this stage's own: what the value is now may be the program's.
		s.room = make([]byte, 0, 2*len(r.Value))
	}
	return nil
}

// sinkSpec describes a sink.
func sinkSpec(sk sink.Sink) (*holdfastv1.SinkSpec, error) {
	s, err := sk.Spec()
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.SinkSpec{Connector: s.Connector, Topics: s.Topics, Properties: s.Properties}
	switch s.Guarantee {
	case sink.None:
		out.DeliveryGuarantee = holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_NONE
	case sink.AtLeastOnce:
		out.DeliveryGuarantee = holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_AT_LEAST_ONCE
	case sink.ExactlyOnce:
		return nil, errors.New("the delivery guarantee exactly-once is not there yet; at-least-once is, for readers that can tell a record that comes again")
	default:
		return nil, fmt.Errorf("%s is not one of none, at-least-once and exactly-once", s.Guarantee)
	}
	return out, nil
}
