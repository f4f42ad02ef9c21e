package kafka

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

const (
	testTopic = "input-topic"
	patience  = 20 * time.Second
)

// broker is a cluster with one topic, and a client to fill it.
type broker struct {
	t         *testing.T
	cluster   *kfake.Cluster
	client    *kgo.Client
	bootstrap string
}

func newBroker(t *testing.T, partitions int32, options ...kfake.Opt) *broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, testTopic)}, options...)...)
	if err != nil {
		t.Fatalf("kfake: %v", err)
	}
	t.Cleanup(c.Close)
	b := &broker{t: t, cluster: c, bootstrap: strings.Join(c.ListenAddrs(), ",")}
	b.client, err = kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(testTopic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatalf("kgo: %v", err)
	}
	t.Cleanup(b.client.Close)
	return b
}

func (b *broker) produce(partition int32, values ...string) {
	b.t.Helper()
	for _, v := range values {
		r := kgo.Record{Partition: partition, Value: []byte(v)}
		if err := b.client.ProduceSync(b.t.Context(), &r).FirstErr(); err != nil {
			b.t.Fatalf("produce: %v", err)
		}
	}
}

// deleteBefore makes offset the first one that is there.
func (b *broker) deleteBefore(partition int32, offset int64) {
	b.t.Helper()
	r := kmsg.NewPtrDeleteRecordsRequest()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	tp := kmsg.NewDeleteRecordsRequestTopic()
	tp.Topic, tp.Partitions = testTopic, append(tp.Partitions, p)
	r.Topics, r.TimeoutMillis = append(r.Topics, tp), 5000
	if _, err := r.RequestWith(b.t.Context(), b.client); err != nil {
		b.t.Fatalf("delete records: %v", err)
	}
}

func (b *broker) commit(group string, partition int32, offset int64) {
	b.t.Helper()
	c, err := b.source(Properties{"group.id": group}).newClient(quiet)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.close()
	_, err = c.consumer.CommitOffsets([]kafka.TopicPartition{
		{Topic: new(testTopic), Partition: partition, Offset: kafka.Offset(offset)},
	})
	if err != nil {
		b.t.Fatalf("commit: %v", err)
	}
}

// committed is -1 where the group has committed nothing.
func (b *broker) committed(group string, partition int32) int64 {
	b.t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	tp := kmsg.NewOffsetFetchRequestTopic()
	tp.Topic, tp.Partitions = testTopic, []int32{partition}
	g := kmsg.NewOffsetFetchRequestGroup()
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = testTopic, []int32{partition}
	g.Group, g.Topics = group, append(g.Topics, gt)
	r.Group, r.Topics, r.Groups = group, append(r.Topics, tp), append(r.Groups, g)
	answer, err := r.RequestWith(b.t.Context(), b.client)
	if err != nil {
		b.t.Fatalf("fetch offsets: %v", err)
	}
	for _, g := range answer.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				return p.Offset
			}
		}
	}
	return -1
}

func (b *broker) source(properties Properties) *Source {
	p := Properties{"bootstrap.servers": b.bootstrap, "group.id": "group", "auto.offset.reset": "earliest"}
	for k, v := range properties {
		p[k] = v
	}
	return NewSource(testTopic, p)
}

var quiet = slog.New(slog.DiscardHandler)

func resolved(t *testing.T, s *Source) []source.Split {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	splits, err := s.DiscoverSplits(ctx, source.DiscoverOptions{ResolveOffsets: true, Logger: quiet})
	if err != nil {
		t.Fatalf("discover: %v", err)
	}
	return splits
}

func open(t *testing.T, s *Source, splits ...source.Split) source.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Open(ctx, source.OpenOptions{Splits: splits, CheckpointsEnabled: true, Logger: quiet})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func at(partition uint32, offset int64) source.Split {
	return source.Split{Topic: testTopic, Partition: partition, StartOffset: offset, Resolved: true}
}

// read reads n records.
func read(t *testing.T, r source.Reader, n int) *source.Batch {
	t.Helper()
	var b source.Batch
	deadline := time.Now().Add(patience)
	for b.Len() < n {
		if err := r.Poll(t.Context(), &b, n); err != nil {
			t.Fatalf("poll: %v", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records came", b.Len(), n)
		}
	}
	return &b
}

// awaitPosition polls until the reader is at the offset.
func awaitPosition(t *testing.T, r source.Reader, want int64) {
	t.Helper()
	var b source.Batch
	deadline := time.Now().Add(patience)
	for r.Positions(nil)[0].NextOffset != want {
		if err := r.Poll(t.Context(), &b, 100); err != nil {
			t.Fatalf("poll: %v", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the position is %v, want %d", r.Positions(nil), want)
		}
	}
}

// freePort is a port that a broker can come back on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), text)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
