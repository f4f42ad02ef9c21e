package kafka

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/await"
)

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
	await.Until(t, patience, "the committed offset 2", func() bool { return b.committed("group", 0) == 2 },
		func() string { return fmt.Sprint(b.committed("group", 0)) })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.committed("group", 0); got != 2 {
		t.Fatalf("closing committed %d", got)
	}
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

func TestReader_WithoutPartitions(t *testing.T) {
	r := open(t, newBroker(t, 1).source(nil))
	var b source.Batch
	if err := r.Poll(t.Context(), &b, 10); err != nil || b.Len() != 0 || len(r.Positions(nil)) != 0 {
		t.Fatalf("poll returned %v and %d records", err, b.Len())
	}
}
