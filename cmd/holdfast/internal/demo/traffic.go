package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

const (
	topic      = "input-topic"
	partitions = 4
	// tick is how often the producer looks whether the next record is due.
	tick = 5 * time.Millisecond
)

// vocabulary is what is counted: few enough that every word comes often.
var vocabulary = []string{
	"kelp", "reef", "tide", "wave", "foam", "salt", "gull", "crab", "buoy", "mast", "sail", "keel",
	"helm", "knot", "rope", "dock", "pier", "sand", "surf", "cove", "gale", "eddy", "swell", "shoal",
}

// startBroker runs a broker that speaks Kafka's protocol in this process.
func startBroker() (*kfake.Cluster, error) {
	return kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
}

// traffic produces words at a steady rate and counts them. Safe for concurrent
// use.
type traffic struct {
	client *kgo.Client
	rate   float64

	mu     sync.Mutex
	sent   map[string]int64
	total  int64
	acked  int64
	failed error

	stop chan struct{}
	done chan struct{}
}

func newTraffic(brokers []string, rate float64) (*traffic, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerLinger(tick),
	)
	if err != nil {
		return nil, err
	}
	return &traffic{client: client, rate: rate, sent: map[string]int64{}}, nil
}

// start lets the records flow until pause.
func (t *traffic) start(ctx context.Context) {
	stop, done := make(chan struct{}), make(chan struct{})
	t.stop, t.done = stop, done
	bug.Go(func() { t.run(ctx, stop, done) })
}

func (t *traffic) run(ctx context.Context, stop, done chan struct{}) {
	defer close(done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began, produced := time.Now(), 0.0
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// By the clock, not by ticks: a late tick is made up for.
		for due := time.Since(began).Seconds() * t.rate; produced < due; produced++ {
			t.produce(ctx, vocabulary[rand.IntN(len(vocabulary))])
		}
	}
}

func (t *traffic) produce(ctx context.Context, word string) {
	// Counted before it is sent, so that no line can come before its count.
	t.mu.Lock()
	t.sent[word]++
	t.total++
	t.mu.Unlock()
	t.client.Produce(ctx, &kgo.Record{Value: []byte(word)}, func(_ *kgo.Record, err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if err != nil {
			t.failed = errors.Join(t.failed, err)
			return
		}
		t.acked++
	})
}

// pause ends the flow, waits until every record is acknowledged, and fails if
// one was not.
func (t *traffic) pause(ctx context.Context) error {
	close(t.stop)
	<-t.done
	if err := t.client.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil || t.acked != t.total {
		return fmt.Errorf("produce: %d of %d records were acknowledged: %w", t.acked, t.total, t.failed)
	}
	return nil
}

// counts is how often each word was sent up to now.
func (t *traffic) counts() (map[string]int64, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.sent), t.total
}

func (t *traffic) close() { t.client.Close() }
