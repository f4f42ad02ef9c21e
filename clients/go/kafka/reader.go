package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// pollWait is how long one poll waits for a first record, in ms.
const pollWait = 50

// closeWithin is how long Close waits for a commit under way.
const closeWithin = 2 * time.Second

// reader reads some partitions of one topic.
type reader struct {
	client    *client
	splits    []source.Split
	index     map[int32]int
	positions []source.Position
	commits   chan []source.Position
	committed chan struct{}
}

func newReader(c *client, splits []source.Split, commit bool) (*reader, error) {
	r := &reader{client: c, splits: splits, index: map[int32]int{}}
	assign := make([]kafka.TopicPartition, len(splits))
	for i, sp := range splits {
		r.index[int32(sp.Partition)] = i
		r.positions = append(r.positions, source.Position{NextOffset: sp.StartOffset, LeaderEpoch: -1})
		assign[i] = kafka.TopicPartition{
			Topic: new(sp.Topic), Partition: int32(sp.Partition), Offset: kafka.Offset(sp.StartOffset),
		}
	}
	if err := c.consumer.Assign(assign); err != nil {
		return nil, fmt.Errorf("assign %s: %w", c.source.topic, err)
	}
	if commit {
		r.commits = make(chan []source.Position, 1)
		r.committed = make(chan struct{})
		go r.commitAll()
	}
	return r, nil
}

// Poll implements source.Reader.
func (r *reader) Poll(ctx context.Context, b *source.Batch, max int) error {
	wait := pollWait
	for b.Len() < max && ctx.Err() == nil {
		e := r.client.consumer.Poll(wait)
		if e == nil {
			return nil
		}
		if err := r.take(ctx, b, e); err != nil {
			return err
		}
		if b.Len() > 0 {
			// What has already been fetched is taken, nothing more waited for.
			wait = 0
		}
	}
	return nil
}

// take handles one event of librdkafka.
func (r *reader) take(ctx context.Context, b *source.Batch, event kafka.Event) error {
	switch e := event.(type) {
	case *kafka.Message:
		if e.TopicPartition.Error != nil {
			return r.failed(ctx, e.TopicPartition.Error)
		}
		r.append(b, e)
	case kafka.PartitionEOF:
		// The end may lie beyond the last record: markers of transactions and
		// aborted records take offsets.
		if i, ok := r.index[e.Partition]; ok && int64(e.Offset) > r.positions[i].NextOffset {
			r.positions[i].NextOffset = int64(e.Offset)
		}
	case kafka.Error:
		return r.failed(ctx, e)
	}
	return nil
}

func (r *reader) append(b *source.Batch, m *kafka.Message) {
	i, ok := r.index[m.TopicPartition.Partition]
	if !ok || int64(m.TopicPartition.Offset) < r.positions[i].NextOffset {
		return
	}
	entry := source.Entry{
		Split: i, Offset: int64(m.TopicPartition.Offset), LeaderEpoch: -1, Key: m.Key, Value: m.Value,
	}
	if m.TopicPartition.LeaderEpoch != nil {
		entry.LeaderEpoch = *m.TopicPartition.LeaderEpoch
	}
	if m.TimestampType != kafka.TimestampNotAvailable {
		entry.TimestampMillis = m.Timestamp.UnixMilli()
	}
	b.Append(entry)
	r.positions[i] = source.Position{NextOffset: entry.Offset + 1, LeaderEpoch: entry.LeaderEpoch}
}

// failed is nil for what librdkafka heals by itself.
func (r *reader) failed(ctx context.Context, err error) error {
	var k kafka.Error
	if !errors.As(err, &k) {
		return err
	}
	switch k.Code() {
	case kafka.ErrAutoOffsetReset, kafka.ErrOffsetOutOfRange:
		return r.outOfRange(ctx, err)
	}
	if err := r.client.final(k); err != nil {
		return fmt.Errorf("read %s: %w", r.client.source.topic, err)
	}
	r.client.waiting(err)
	return nil
}

// outOfRange finds the partition that librdkafka's error does not name.
func (r *reader) outOfRange(ctx context.Context, cause error) error {
	for i, sp := range r.splits {
		low, high, err := r.client.watermarks(ctx, sp)
		if err != nil {
			return err
		}
		if at := r.positions[i].NextOffset; at < low || at > high {
			return &source.OffsetOutOfRangeError{Topic: sp.Topic, Partition: sp.Partition, Offset: at, First: low}
		}
	}
	return fmt.Errorf("read %s: %w", r.client.source.topic, cause)
}

// Positions implements source.Reader.
func (r *reader) Positions(dst []source.Position) []source.Position {
	return append(dst, r.positions...)
}

// CommitForDisplay implements source.Reader. Only the newest commit that waits
// is carried out.
func (r *reader) CommitForDisplay(positions []source.Position) {
	if r.commits == nil {
		return
	}
	select {
	case <-r.commits:
	default:
	}
	r.commits <- positions
}

// commitAll commits in a goroutine of its own, because a commit waits for the
// broker.
func (r *reader) commitAll() {
	defer close(r.committed)
	for positions := range r.commits {
		offsets := make([]kafka.TopicPartition, len(positions))
		for i, p := range positions {
			offsets[i] = kafka.TopicPartition{
				Topic: new(r.splits[i].Topic), Partition: int32(r.splits[i].Partition), Offset: kafka.Offset(p.NextOffset),
			}
			if p.LeaderEpoch >= 0 {
				offsets[i].LeaderEpoch = new(p.LeaderEpoch)
			}
		}
		if _, err := r.client.consumer.CommitOffsets(offsets); err != nil {
			r.client.log.Warn("offsets were not committed for display", "error", err)
		}
	}
}

// Close implements source.Reader.
func (r *reader) Close() error {
	if r.commits == nil {
		r.client.close()
		return nil
	}
	close(r.commits)
	select {
	case <-r.committed:
		r.client.close()
	case <-time.After(closeWithin):
		// The consumer must not be freed under a commit.
		go func() {
			<-r.committed
			r.client.close()
		}()
	}
	return nil
}
