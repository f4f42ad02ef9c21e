package kafka

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/holdfast-io/holdfast/clients/go/sink"
)

const (
	// fullBytes is how much may wait to be given to librdkafka before a writer is full.
	fullBytes = 1 << 20
	// queueRetry is the pause after librdkafka's own queue was full.
	queueRetry = 5 * time.Millisecond
)

// writer writes for one attempt. The attempt's goroutine leaves batches, send gives
// their records to librdkafka, and reports counts what the broker has confirmed. A
// record belongs to a generation, and confirmations come in any order: a generation is
// safe when it and all before it have no open record.
type writer struct {
	sink     *Sink
	producer *kafka.Producer
	options  sink.OpenOptions
	done     chan struct{} // closed by Close
	sent     chan struct{} // send has ended
	reported chan struct{} // reports has ended

	mu    sync.Mutex
	wake  chan struct{}
	queue []job
	waits int // bytes in queue
	// open has the records of generations first to the one that is written now that are
	// not confirmed.
	open  []int
	first uint64
	err   error
}

// job is a batch that waits for librdkafka.
type job struct {
	batch      sink.Batch
	generation uint64
}

func newWriter(s *Sink, p *kafka.Producer, options sink.OpenOptions) *writer {
	return &writer{
		sink: s, producer: p, options: options, done: make(chan struct{}), sent: make(chan struct{}), reported: make(chan struct{}),
		wake: make(chan struct{}, 1), open: []int{0}, first: 1,
	}
}

// Write implements sink.Writer.
func (w *writer) Write(b sink.Batch) error {
	n := 0
	var r sink.Record
	for rest := b; len(rest) > 0; n++ {
		var err error
		if rest, err = rest.Next(&r); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, job{append(sink.Batch(nil), b...), w.first + uint64(len(w.open)) - 1})
	w.waits += len(b)
	w.open[len(w.open)-1] += n
	w.poke()
	return nil
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Mark implements sink.Writer.
func (w *writer) Mark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.first + uint64(len(w.open)) - 1
	w.open = append(w.open, 0)
	return g
}

// Safe implements sink.Writer.
func (w *writer) Safe() (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.open) > 1 && w.open[0] == 0 {
		w.open = w.open[1:]
		w.first++
	}
	return w.first - 1, w.err
}

// Full implements sink.Writer.
func (w *writer) Full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits >= fullBytes
}

// send gives batches to librdkafka, in order, and waits where its queue is full.
func (w *writer) send() {
	defer close(w.sent)
	for {
		w.mu.Lock()
		var j job
		if len(w.queue) > 0 {
			j = w.queue[0]
		}
		w.mu.Unlock()
		if j.batch == nil {
			select {
			case <-w.wake:
				continue
			case <-w.done:
				return
			}
		}
		if !w.produce(j) {
			return
		}
		w.mu.Lock()
		wasFull := w.waits >= fullBytes
		w.queue[0] = job{}
		w.queue = w.queue[1:]
		w.waits -= len(j.batch)
		isFull := w.waits >= fullBytes
		w.mu.Unlock()
		if wasFull && !isFull {
			w.options.Notify()
		}
	}
}

// produce gives a batch to librdkafka; false: the writer is closed or has failed.
func (w *writer) produce(j job) bool {
	var r sink.Record
	generation := any(j.generation) // once, not for each record
	for rest := j.batch; len(rest) > 0; {
		var err error
		if rest, err = rest.Next(&r); err != nil {
			w.fail(err)
			return false
		}
		m := w.message(&r)
		m.Opaque = generation
		for {
			err := w.producer.Produce(m, nil)
			if err == nil {
				break
			}
			if !isCode(err, kafka.ErrQueueFull) {
				w.fail(fmt.Errorf("write to topic %q: %w", *m.TopicPartition.Topic, withoutSecrets(err, w.sink.properties)))
				return false
			}
			select {
			case <-time.After(queueRetry):
			case <-w.done:
				return false
			}
		}
	}
	return true
}

func (w *writer) message(r *sink.Record) *kafka.Message {
	topic := &w.sink.topic
	if r.Topic != "" {
		topic = &r.Topic
	}
	m := &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionAny},
		Key:            r.Key, Value: r.Value, Timestamp: r.Timestamp,
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// reports counts what the broker confirmed, until the producer is closed.
func (w *writer) reports() {
	defer close(w.reported)
	for e := range w.producer.Events() {
		switch e := e.(type) {
		case *kafka.Message:
			if e.TopicPartition.Error != nil {
				w.fail(w.failure(e))
				continue
			}
			g, _ := e.Opaque.(uint64)
			w.confirm(g)
		case kafka.Error:
			if e.IsFatal() {
				w.fail(fmt.Errorf("the Kafka producer cannot go on: %w", withoutSecrets(e, w.sink.properties)))
				continue
			}
			w.options.Logger.Warn("Kafka does not answer the producer", "topic", w.sink.topic,
				"bootstrap.servers", w.sink.properties["bootstrap.servers"], "error", redact(e.Error(), w.sink.properties))
		}
	}
}

func (w *writer) failure(m *kafka.Message) error {
	topic := w.sink.topic
	if m.TopicPartition.Topic != nil {
		topic = *m.TopicPartition.Topic
	}
	return fmt.Errorf("a record for topic %q on %s was not written: %w", topic, w.sink.properties["bootstrap.servers"], m.TopicPartition.Error)
}

// confirm counts a record of a generation as written, and tells of the last one.
func (w *writer) confirm(generation uint64) {
	w.mu.Lock()
	i := int(generation - w.first)
	w.open[i]--
	news := w.open[i] == 0 && i < len(w.open)-1
	w.mu.Unlock()
	if news {
		w.options.Notify()
	}
}

// fail ends the attempt, with the first error.
func (w *writer) fail(err error) {
	w.mu.Lock()
	first := w.err == nil
	if first {
		w.err = err
	}
	w.mu.Unlock()
	if first && !w.closing() {
		w.options.Notify()
	}
}

func (w *writer) closing() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Close implements sink.Writer. What is not written is dropped: an attempt that ends
// well has waited for it.
func (w *writer) Close() error {
	if w.closing() {
		return errors.New("the writer is closed")
	}
	close(w.done)
	<-w.sent
	// Nothing may be sent once the attempt is over.
	err := w.producer.Purge(kafka.PurgeQueue | kafka.PurgeInFlight | kafka.PurgeNonBlocking)
	w.producer.Close()
	<-w.reported
	return err
}
