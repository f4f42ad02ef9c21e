package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

const (
	// callTimeout bounds one question to a broker, in ms.
	callTimeout = 2000
	retryEvery  = 250 * time.Millisecond
	logEvery    = 10 * time.Second
	// missingFor is how long a topic may be unknown before it counts as missing:
	// a new topic takes a moment to be known by every broker.
	missingFor = 2 * time.Second
)

// client asks a cluster questions and waits where nobody answers.
type client struct {
	source   *Source
	consumer *kafka.Consumer
	log      *slog.Logger
	done     chan struct{}
	saidAt   time.Time
	missing  time.Time
}

func (c *client) close() {
	if err := c.consumer.Close(); err != nil {
		c.log.Warn("the Kafka consumer did not close well", "error", err)
	}
	close(c.done)
}

// retry asks again until there is an answer, or one that will not change.
func (c *client) retry(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if err := c.final(err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.waiting(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// waiting says so once, and then every 10 s.
func (c *client) waiting(err error) {
	if time.Since(c.saidAt) < logEvery {
		return
	}
	c.saidAt = time.Now()
	c.log.Warn("Kafka does not answer, waiting", "topic", c.source.topic,
		"bootstrap.servers", c.source.properties["bootstrap.servers"], "error", err)
}

// final is nil while asking again may help.
func (c *client) final(err error) error {
	var k kafka.Error
	if !errors.As(err, &k) {
		return err
	}
	switch k.Code() {
	case kafka.ErrUnknownTopicOrPart, kafka.ErrUnknownTopic, kafka.ErrUnknownPartition:
		if c.missing.IsZero() {
			c.missing = time.Now()
		}
		if time.Since(c.missing) > missingFor {
			return c.notFound()
		}
	case kafka.ErrTopicAuthorizationFailed, kafka.ErrGroupAuthorizationFailed,
		kafka.ErrInvalidArg, kafka.ErrTopicException, kafka.ErrUnsupportedFeature:
		return fmt.Errorf("%w: %w", source.ErrPermanent, err)
	}
	if k.IsFatal() {
		return err
	}
	return nil
}

func (c *client) notFound() error {
	return fmt.Errorf("%w: topic %q on %s; create it, or mend its name or bootstrap.servers", source.ErrSourceNotFound, c.source.topic,
		c.source.properties["bootstrap.servers"])
}

// partitions lists the topic's partitions, without offsets.
func (c *client) partitions(ctx context.Context) ([]source.Split, error) {
	var splits []source.Split
	err := c.retry(ctx, "read metadata", func() error {
		topic := c.source.topic
		m, err := c.consumer.GetMetadata(&topic, false, callTimeout)
		if err != nil {
			return err
		}
		t := m.Topics[topic]
		if t.Error.Code() != kafka.ErrNoError {
			return t.Error
		}
		if len(t.Partitions) == 0 {
			return kafka.NewError(kafka.ErrUnknownTopicOrPart, "the topic has no partitions", false)
		}
		splits = make([]source.Split, len(t.Partitions))
		for i := range t.Partitions {
			splits[i] = source.Split{Topic: topic, Partition: uint32(i)}
		}
		return nil
	})
	return splits, err
}

// watermarks are the first offset and the one after the last.
func (c *client) watermarks(ctx context.Context, sp source.Split) (low, high int64, err error) {
	err = c.retry(ctx, "read offsets", func() (err error) {
		low, high, err = c.consumer.QueryWatermarkOffsets(sp.Topic, int32(sp.Partition), callTimeout)
		return err
	})
	return low, high, err
}

// prepare resolves the splits that have no start offset and checks the others:
// where auto.offset.reset has no say, an offset that is gone is an error.
func (c *client) prepare(ctx context.Context, splits []source.Split) error {
	var open []int
	for i, sp := range splits {
		if !sp.Resolved {
			open = append(open, i)
			continue
		}
		low, high, err := c.watermarks(ctx, sp)
		if err != nil {
			return err
		}
		if sp.StartOffset < low || sp.StartOffset > high {
			return &source.OffsetOutOfRangeError{
				Topic: sp.Topic, Partition: sp.Partition, Offset: sp.StartOffset, First: low,
			}
		}
	}
	unresolved := make([]source.Split, len(open))
	for n, i := range open {
		unresolved[n] = splits[i]
	}
	if err := c.resolve(ctx, unresolved); err != nil {
		return err
	}
	for n, i := range open {
		splits[i] = unresolved[n]
	}
	return nil
}

// resolve gives each split its start offset: what the group committed, where
// that still exists, else what auto.offset.reset says.
func (c *client) resolve(ctx context.Context, splits []source.Split) error {
	if len(splits) == 0 {
		return nil
	}
	committed, err := c.committed(ctx, splits)
	if err != nil {
		return err
	}
	reset, err := c.source.reset()
	if err != nil {
		return err
	}
	for i := range splits {
		sp := &splits[i]
		low, high, err := c.watermarks(ctx, *sp)
		if err != nil {
			return err
		}
		at, ok := committed[sp.Partition]
		switch {
		case ok && at >= low && at <= high:
			sp.StartOffset = at
		case reset == "latest":
			sp.StartOffset = high
		case reset == "earliest":
			sp.StartOffset = low
		default:
			return fmt.Errorf("%w: %s[%d] has no committed offset in range and auto.offset.reset is none; set that to earliest or latest, or commit an offset for the group",
				source.ErrPermanent, sp.Topic, sp.Partition)
		}
		sp.Resolved = true
	}
	return nil
}

// committed reads the group's offsets, where it has some.
func (c *client) committed(ctx context.Context, splits []source.Split) (map[uint32]int64, error) {
	found := map[uint32]int64{}
	if !c.source.hasGroup() {
		return found, nil
	}
	ask := make([]kafka.TopicPartition, len(splits))
	for i, sp := range splits {
		ask[i] = kafka.TopicPartition{Topic: new(sp.Topic), Partition: int32(sp.Partition)}
	}
	err := c.retry(ctx, "read committed offsets", func() error {
		answer, err := c.consumer.Committed(ask, callTimeout)
		if isCode(err, kafka.ErrGroupIDNotFound) {
			// A group that nobody used has committed nothing.
			return nil
		}
		if err != nil {
			return err
		}
		for _, tp := range answer {
			if tp.Error != nil {
				return tp.Error
			}
			if tp.Offset >= 0 {
				found[uint32(tp.Partition)] = int64(tp.Offset)
			}
		}
		return nil
	})
	return found, err
}

func isCode(err error, code kafka.ErrorCode) bool {
	var k kafka.Error
	return errors.As(err, &k) && k.Code() == code
}
