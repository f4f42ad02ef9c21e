package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

func TestSource_StartPositions(t *testing.T) {
	b := newBroker(t, 3)
	b.produce(0, "a", "b", "c")
	b.produce(1, "a", "b", "c")
	b.deleteBefore(1, 2)
	b.commit("group", 0, 1)
	b.commit("group", 1, 1) // no longer there
	for _, c := range []struct {
		name       string
		properties Properties
		want       string
	}{
		{"committed, else earliest", nil, "[1 2 0]"},
		{"committed, else latest", Properties{"auto.offset.reset": "latest"}, "[1 3 0]"},
		{"earliest of a new group", Properties{"group.id": "new"}, "[0 2 0]"},
		{"latest of a new group", Properties{"group.id": "new", "auto.offset.reset": "largest"}, "[3 3 0]"},
		{"no group", Properties{"group.id": ""}, "[0 2 0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := b.source(c.properties)
			if s.properties["group.id"] == "" {
				delete(s.properties, "group.id")
			}
			var got []int64
			for i, sp := range resolved(t, s) {
				if !sp.Resolved || sp.Partition != uint32(i) || sp.Topic != testTopic {
					t.Errorf("split %v", sp)
				}
				got = append(got, sp.StartOffset)
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("start offsets %v, want %s", got, c.want)
			}
		})
	}
}

func TestSource_NoStartPosition(t *testing.T) {
	b := newBroker(t, 1)
	s := b.source(Properties{"auto.offset.reset": "none"})
	_, err := s.DiscoverSplits(t.Context(), source.DiscoverOptions{ResolveOffsets: true, Logger: quiet})
	if !errors.Is(err, source.ErrPermanent) {
		t.Fatalf("discover returned %v", err)
	}
}

func TestSource_DiscoverWithoutOffsets(t *testing.T) {
	b := newBroker(t, 2)
	splits, err := b.source(nil).DiscoverSplits(t.Context(), source.DiscoverOptions{Logger: quiet})
	if err != nil || len(splits) != 2 || splits[0].Resolved || splits[1].Resolved {
		t.Fatalf("discover returned %v, %v", splits, err)
	}
}

func TestSource_OpenResolvesWhatIsNotResolved(t *testing.T) {
	b := newBroker(t, 2)
	b.produce(0, "a", "b")
	b.produce(1, "a", "b")
	s := b.source(Properties{"auto.offset.reset": "latest"})
	r := open(t, s, source.Split{Topic: testTopic, Partition: 0}, at(1, 1))
	p := r.Positions(nil)
	if p[0].NextOffset != 2 || p[1].NextOffset != 1 {
		t.Fatalf("positions %v", p)
	}
}

func TestSource_TopicMissing(t *testing.T) {
	b := newBroker(t, 1)
	s := NewSource("no-such-topic", b.source(nil).properties)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.DiscoverSplits(ctx, source.DiscoverOptions{Logger: quiet})
	if !errors.Is(err, source.ErrSourceNotFound) || !strings.Contains(err.Error(), "no-such-topic") ||
		!strings.Contains(err.Error(), b.bootstrap) {
		t.Fatalf("discover returned %v", err)
	}
	_, err = s.Open(ctx, source.OpenOptions{
		Splits: []source.Split{{Topic: "no-such-topic", Resolved: true}}, Logger: quiet,
	})
	if !errors.Is(err, source.ErrSourceNotFound) {
		t.Fatalf("open returned %v", err)
	}
}

func TestSource_OffsetOutOfRange(t *testing.T) {
	b := newBroker(t, 1)
	b.produce(0, "a", "b", "c", "d")
	b.deleteBefore(0, 2)
	for name, offset := range map[string]int64{"gone": 1, "not there yet": 5} {
		t.Run(name, func(t *testing.T) {
			_, err := b.source(nil).Open(t.Context(), source.OpenOptions{Splits: []source.Split{at(0, offset)}, Logger: quiet})
			var gap *source.OffsetOutOfRangeError
			if !errors.As(err, &gap) || gap.Offset != offset || gap.First != 2 || gap.Topic != testTopic {
				t.Fatalf("open returned %v", err)
			}
		})
	}
	for _, offset := range []int64{2, 4} {
		if got := open(t, b.source(nil), at(0, offset)).Positions(nil)[0].NextOffset; got != offset {
			t.Fatalf("opened at %d, want %d", got, offset)
		}
	}
}

func TestReader_OffsetLostWhileReading(t *testing.T) {
	b := newBroker(t, 1)
	b.produce(0, "a", "b", "c", "d")
	r := open(t, b.source(nil), at(0, 0)).(*reader)
	b.deleteBefore(0, 3)
	err := r.take(t.Context(), &source.Batch{}, kafka.NewError(kafka.ErrAutoOffsetReset, "out of range", false))
	var gap *source.OffsetOutOfRangeError
	if !errors.As(err, &gap) || gap.Offset != 0 || gap.First != 3 {
		t.Fatalf("take returned %v", err)
	}
}

func TestReader_RecordsAndPositions(t *testing.T) {
	b := newBroker(t, 2)
	b.produce(0, "a", "b", "c")
	b.produce(1, "x")
	sent := time.UnixMilli(1489738911249)
	err := b.client.ProduceSync(t.Context(), &kgo.Record{Partition: 1, Key: []byte("k"), Timestamp: sent}).FirstErr()
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, b.source(nil), at(1, 0), at(0, 1))
	batch := read(t, r, 4)
	got := map[string]bool{}
	for i := range batch.Len() {
		got[fmt.Sprintf("%d/%d %q", batch.Split(i), batch.Offset(i), batch.Value(i))] = true
		if batch.Split(i) == 0 && batch.Offset(i) == 1 &&
			(batch.Value(i) != nil || string(batch.Key(i)) != "k" || batch.TimestampMillis(i) != sent.UnixMilli()) {
			t.Errorf("record %d: key %q, value %q, time %d", i, batch.Key(i), batch.Value(i), batch.TimestampMillis(i))
		}
	}
	if fmt.Sprint(got) != `map[0/0 "x":true 0/1 "":true 1/1 "b":true 1/2 "c":true]` {
		t.Fatalf("read %v", got)
	}
	if p := r.Positions(nil); p[0].NextOffset != 2 || p[1].NextOffset != 3 {
		t.Fatalf("positions %v", p)
	}
}

func TestReader_ReadCommittedPassesOverAbortedRecords(t *testing.T) {
	b := newBroker(t, 1)
	b.produce(0, "a")
	tx, err := kgo.NewClient(kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.DefaultProduceTopic(testTopic), kgo.TransactionalID("tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint("committed ", bool(commit))
		if err := tx.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, b.source(nil), at(0, 0))
	batch := read(t, r, 2)
	if string(batch.Value(1)) != "committed true" {
		t.Fatalf("the second record is %q", batch.Value(1))
	}
	// a, aborted, its marker, committed, its marker.
	awaitPosition(t, r, 5)
}

func TestReader_CommitsForDisplayOnly(t *testing.T) {
	b := newBroker(t, 1)
	b.produce(0, "a", "b", "c")
	r, err := b.source(nil).Open(t.Context(), source.OpenOptions{
		Splits: []source.Split{at(0, 0)}, CheckpointsEnabled: true, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	read(t, r, 3)
	if got := b.committed("group", 0); got > 0 {
		t.Fatalf("offset %d was committed before a checkpoint", got)
	}
	r.CommitForDisplay([]source.Position{{NextOffset: 1, LeaderEpoch: -1}})
	r.CommitForDisplay([]source.Position{{NextOffset: 2, LeaderEpoch: 0}})
	deadline := time.Now().Add(patience)
	for b.committed("group", 0) != 2 {
		if time.Now().After(deadline) {
			t.Fatalf("the committed offset is %d, want 2", b.committed("group", 0))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.committed("group", 0); got != 2 {
		t.Fatalf("closing committed %d", got)
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

func TestReader_GoesOnAfterABrokerRestart(t *testing.T) {
	port, dir := freePort(t), t.TempDir()
	b := newBroker(t, 1, kfake.Ports(port), kfake.DataDir(dir))
	b.produce(0, "a", "b")
	r := open(t, b.source(nil), at(0, 0))
	read(t, r, 2)
	b.client.Close()
	b.cluster.Close()
	var batch source.Batch
	for range 5 {
		if err := r.Poll(t.Context(), &batch, 10); err != nil || batch.Len() > 0 {
			t.Fatalf("poll without a broker returned %v and %d records", err, batch.Len())
		}
	}
	again := newBroker(t, 1, kfake.Ports(port), kfake.DataDir(dir))
	again.produce(0, "c")
	if got := read(t, r, 1); string(got.Value(0)) != "c" || got.Offset(0) != 2 {
		t.Fatalf("read %q at %d", got.Value(0), got.Offset(0))
	}
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

func TestSource_WaitsForABrokerAndSaysSoOnce(t *testing.T) {
	port := freePort(t)
	logs := &safeBuffer{}
	s := NewSource(testTopic, Properties{"bootstrap.servers": fmt.Sprintf("127.0.0.1:%d", port), "reconnect.backoff.max.ms": "100"})
	type answer struct {
		splits []source.Split
		err    error
	}
	found := make(chan answer, 1)
	go func() {
		splits, err := s.DiscoverSplits(t.Context(), source.DiscoverOptions{Logger: slog.New(slog.NewTextHandler(logs, nil))})
		found <- answer{splits, err}
	}()
	deadline := time.Now().Add(patience)
	for logs.count("waiting") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("it does not say that it waits")
		}
		time.Sleep(10 * time.Millisecond)
	}
	newBroker(t, 1, kfake.Ports(port))
	if a := <-found; a.err != nil || len(a.splits) != 1 {
		t.Fatalf("discover returned %v, %v", a.splits, a.err)
	}
	if n := logs.count("waiting"); n != 1 {
		t.Fatalf("it said so %d times", n)
	}
}

func TestSource_StopsWaiting(t *testing.T) {
	s := NewSource(testTopic, Properties{"bootstrap.servers": fmt.Sprintf("127.0.0.1:%d", freePort(t))})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.DiscoverSplits(ctx, source.DiscoverOptions{Logger: quiet}); !errors.Is(err, context.Canceled) {
		t.Fatalf("discover returned %v", err)
	}
}
