package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/testport"
)

// broker is a real Apache Kafka.
type broker struct {
	t       *testing.T
	address string
	client  *kgo.Client
	// Of a broker of the test's own, by kafka.sh.
	dir  string
	port int
}

// sharedBroker is the one that the tier has started.
func sharedBroker(t *testing.T) *broker {
	t.Helper()
	address := harness.RequireEnv(t, harness.EnvKafka, harness.EnvBin)[0]
	b := &broker{t: t, address: address}
	b.connect()
	return b
}

// ownBroker reserves a broker that the test may kill; it is not started yet.
func ownBroker(t *testing.T) *broker {
	t.Helper()
	harness.RequireEnv(t, harness.EnvKafka, harness.EnvBin)
	port := brokerPort(t)
	b := &broker{t: t, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: filepath.Join(t.TempDir(), "kafka"), port: port}
	t.Cleanup(func() { b.script("down", "--hard", "--clean") })
	return b
}

// brokerPort finds a port that is free together with the one of the broker's
// controller, a hundred above.
func brokerPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		_, text, _ := strings.Cut(testport.Free(t, 1)[0], ":")
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+100)))
		if err == nil {
			_ = l.Close() // only tried
			return port
		}
	}
	t.Fatal("found no two free ports for a broker")
	return 0
}

// script runs a command of kafka.sh on the test's own broker.
func (b *broker) script(args ...string) {
	b.t.Helper()
	args = append(args, "--port", strconv.Itoa(b.port), "--dir", b.dir)
	log := createLog(b.t)
	defer log.Close()
	// Spawned, so that it does not go on when the test dies.
	p, err := harness.Spawn(harness.Command{
		Path: filepath.Join(harness.ModuleRoot(b.t), "integration", "kafka", "kafka.sh"), Args: args, Stdout: log, Stderr: log,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if code := p.ExitCode(); code != 0 {
		b.t.Fatalf("kafka.sh %s: exit code %d\n%s", strings.Join(args, " "), code, tailOf(log.Name()))
	}
}

func (b *broker) start() {
	b.t.Helper()
	harness.Guard(b.t, filepath.Join(b.dir, "node-1", "pid"), b.dir)
	b.script("up", "--heap", "512m")
	if b.client == nil {
		b.connect()
	}
}

func (b *broker) kill() { b.t.Helper(); b.script("down", "--hard") }

func (b *broker) connect() {
	b.t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.address), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerLinger(time.Millisecond),
		// A topic that was just made is not on every broker at once; limited bounds the wait.
		kgo.UnknownTopicRetries(-1),
	)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client = client
	b.t.Cleanup(client.Close)
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), harness.Patience())
}

// topic makes a topic with a name of its own.
func (b *broker) topic(partitions int32) string {
	b.t.Helper()
	name := harness.RandomName("input")
	b.createTopic(name, partitions)
	return name
}

func (b *broker) createTopic(name string, partitions int32) {
	b.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	top := kmsg.NewCreateTopicsRequestTopic()
	top.Topic, top.NumPartitions, top.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, top)
	harness.Until(b.t, "the topic "+name, func() error {
		ctx, cancel := limited()
		defer cancel()
		resp, err := req.RequestWith(ctx, b.client)
		if err == nil && resp.Topics[0].ErrorCode != 0 && resp.Topics[0].ErrorCode != 36 { // exists: an answer was lost
			err = fmt.Errorf("error code %d", resp.Topics[0].ErrorCode)
		}
		return err
	})
}

// produce writes values to partition 0 and waits until the broker has them.
func (b *broker) produce(topic string, values ...string) {
	b.t.Helper()
	ctx, cancel := limited()
	defer cancel()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Key: []byte("0"), Value: []byte(v)}
		if err := b.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			b.t.Fatalf("produce %q: %v", v, err)
		}
	}
}

// deleteBefore removes the records of partition 0 before an offset.
func (b *broker) deleteBefore(topic string, offset int64) {
	b.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Offset = offset
	top := kmsg.NewDeleteRecordsRequestTopic()
	top.Topic, top.Partitions = topic, append(top.Partitions, part)
	req.Topics = append(req.Topics, top)
	ctx, cancel := limited()
	defer cancel()
	for _, shard := range b.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			b.t.Fatalf("delete records of %s: %v", topic, shard.Err)
		}
		if code := shard.Resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
			b.t.Fatalf("delete records of %s: error code %d", topic, code)
		}
	}
}

// counts reads a whole topic again, up to its ends of this moment, and counts
// its values: the oracle of what a job that reads it from the beginning must
// have counted.
func (b *broker) counts(topic string, partitions int32) map[string]int64 {
	b.t.Helper()
	ends := b.ends(topic, partitions)
	offsets := map[string]map[int32]kgo.Offset{topic: {}}
	left := int64(0)
	for p, end := range ends {
		offsets[topic][p] = kgo.NewOffset().At(0)
		left += end
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ConsumePartitions(offsets))
	if err != nil {
		b.t.Fatal(err)
	}
	defer consumer.Close()
	ctx, cancel := limited()
	defer cancel()
	out := map[string]int64{}
	for left > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[r.Partition] {
				out[string(r.Value)]++
				left--
			}
		})
	}
	return out
}

// ends are the next offsets to be written. Topics here have no transactions and
// no compaction, so offsets have no gaps.
func (b *broker) ends(topic string, partitions int32) map[int32]int64 {
	b.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	top := kmsg.NewListOffsetsRequestTopic()
	top.Topic = topic
	for p := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		top.Partitions = append(top.Partitions, part)
	}
	req.Topics = append(req.Topics, top)
	ctx, cancel := limited()
	defer cancel()
	out := map[int32]int64{}
	for _, shard := range b.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			b.t.Fatalf("list offsets of %s: %v", topic, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					b.t.Fatalf("list offsets of %s/%d: error code %d", topic, p.Partition, p.ErrorCode)
				}
				out[p.Partition] = p.Offset
			}
		}
	}
	return out
}

// flow produces records whose value is their key, about rate a second, until it
// is stopped; stop waits until the broker has them all.
func (b *broker) flow(topic string, keys int, rate int) (stop func()) {
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-tick.C:
			case <-done:
				ended <- b.client.Flush(context.Background())
				return
			}
			for range max(rate/100, 1) {
				key := []byte("k" + strconv.Itoa(n%keys))
				b.client.Produce(context.Background(), &kgo.Record{Topic: topic, Key: key, Value: bytes.Clone(key)}, nil)
				n++
			}
		}
	}()
	return func() {
		b.t.Helper()
		close(done)
		select {
		case err := <-ended:
			if err != nil {
				b.t.Fatalf("produce: %v", err)
			}
		case <-time.After(harness.Patience()):
			b.t.Fatalf("waited %s for the broker to take what was produced", harness.Patience())
		}
	}
}
