package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-io/holdfast/clients/go/sink"
	"github.com/holdfast-io/holdfast/internal/await"
)

// sinkRig is a writer whose news are counted.
type sinkRig struct {
	t      *testing.T
	writer sink.Writer
	news   chan struct{}
}

func openSink(t *testing.T, s *Sink) *sinkRig {
	t.Helper()
	r := &sinkRig{t: t, news: make(chan struct{}, 1000)}
	w, err := s.Open(t.Context(), sink.OpenOptions{Logger: quiet, Notify: func() { r.news <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	r.writer = w
	t.Cleanup(func() { _ = w.Close() }) // again, where the test closed it
	return r
}

func (r *sinkRig) write(records ...sink.Record) {
	r.t.Helper()
	var b sink.Batch
	for i := range records {
		b = b.Append(&records[i])
	}
	if err := r.writer.Write(b); err != nil {
		r.t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xff // the writer has its own
	}
}

// settle waits by the news alone until a generation is safe.
func (r *sinkRig) settle(generation uint64) {
	r.t.Helper()
	for {
		g, err := r.writer.Safe()
		if err != nil {
			r.t.Fatal(err)
		}
		if g >= generation {
			return
		}
		r.await()
	}
}

func (r *sinkRig) await() {
	r.t.Helper()
	select {
	case <-r.news:
	case <-time.After(patience):
		r.t.Fatal("no news of the writer")
	}
}

// failure waits by the news alone until the writer has failed.
func (r *sinkRig) failure() error {
	r.t.Helper()
	for {
		if _, err := r.writer.Safe(); err != nil {
			return err
		}
		r.await()
	}
}

func (b *broker) sink(properties Properties) *Sink {
	p := Properties{"bootstrap.servers": b.bootstrap, "linger.ms": "1"}
	for k, v := range properties {
		p[k] = v
	}
	return NewSink(testTopic, p).WithDeliveryGuarantee(sink.AtLeastOnce)
}

// read reads n records of the topic, in the order of each partition.
func (b *broker) read(n int) []*kgo.Record {
	b.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.ConsumeTopics(testTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n {
		f := c.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			b.t.Fatalf("%d of %d records, then: %v", len(out), n, err)
		}
		f.EachRecord(func(r *kgo.Record) { out = append(out, r) })
	}
	return out
}

func TestSink_WritesWhatItIsGiven(t *testing.T) {
	b := newBroker(t, 1)
	r := openSink(t, b.sink(nil))
	at := time.UnixMilli(1_700_000_000_123)
	r.write(
		sink.Record{Key: []byte("k"), Value: []byte("v"), Headers: []sink.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}, Timestamp: at},
		sink.Record{Value: []byte("no key")},
	)
	r.write(sink.Record{Key: []byte("gone"), Value: nil}, sink.Record{Key: []byte{}, Value: []byte{}})
	r.settle(r.writer.Mark())
	got := b.read(4)
	describe := func(r *kgo.Record) string {
		show := func(b []byte) string {
			if b == nil {
				return "null"
			}
			return fmt.Sprintf("%q", b)
		}
		s := show(r.Key) + "=" + show(r.Value)
		for _, h := range r.Headers {
			s += " " + h.Key + ":" + show(h.Value)
		}
		return s
	}
	want := []string{`"k"="v" h:"x" null:null`, `null="no key"`, `"gone"=null`, `""=""`}
	for i, w := range want {
		if g := describe(got[i]); g != w {
			t.Errorf("record %d is %s, want %s", i, g, w)
		}
	}
	if !got[0].Timestamp.Equal(at) {
		t.Errorf("the timestamp is %v, want %v", got[0].Timestamp, at)
	}
}

func TestSink_ManyRecordsKeepTheirOrder(t *testing.T) {
	const records, marks = 20_000, 20
	b := newBroker(t, 4)
	r := openSink(t, b.sink(nil))
	for m := range marks {
		var batch []sink.Record
		for i := range records / marks {
			n := m*records/marks + i
			batch = append(batch, sink.Record{Key: fmt.Append(nil, n%97), Value: fmt.Append(nil, n)})
		}
		r.write(batch...)
		if g := r.writer.Mark(); g != uint64(m+1) {
			t.Fatalf("generation %d, want %d", g, m+1)
		}
	}
	r.settle(marks)
	last := map[string]int{}
	for _, rec := range b.read(records) {
		n := 0
		if _, err := fmt.Sscan(string(rec.Value), &n); err != nil {
			t.Fatal(err)
		}
		if was, ok := last[string(rec.Key)]; ok && n != was+97 {
			t.Fatalf("key %s: %d comes after %d", rec.Key, n, was)
		}
		last[string(rec.Key)] = n
	}
}

// TestSink_AGenerationWaitsForItsOwnRecords: those of a later one do not count for it.
func TestSink_AGenerationWaitsForItsOwnRecords(t *testing.T) {
	b := newBroker(t, 2)
	first, goOn := make(chan struct{}), make(chan struct{})
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		for _, tp := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range tp.Partitions {
				if p.Partition == 0 {
					select {
					case first <- struct{}{}:
					default:
					}
					b.cluster.SleepControl(func() { <-goOn })
				}
			}
		}
		return nil, nil, false
	})
	r := openSink(t, b.sink(Properties{"partitioner": "murmur2", "enable.idempotence": "false", "max.in.flight": "5"}))
	// Records of both generations, whose partitions are not known beforehand: the broker
	// holds partition 0 up.
	keys := [2]string{}
	for i := 0; keys[0] == "" || keys[1] == ""; i++ {
		k := fmt.Sprint("key-", i)
		keys[kgo.StickyKeyPartitioner(nil).ForTopic(testTopic).Partition(&kgo.Record{Key: []byte(k)}, 2)] = k
	}
	r.write(sink.Record{Key: []byte(keys[0]), Value: []byte("held up")})
	one := r.writer.Mark()
	select {
	case <-first:
	case <-time.After(patience):
		t.Fatal("the first record did not come")
	}
	r.write(sink.Record{Key: []byte(keys[1]), Value: []byte("a")}, sink.Record{Key: []byte(keys[1]), Value: []byte("b")})
	two := r.writer.Mark()
	if g, err := r.writer.Safe(); g >= one || err != nil {
		t.Errorf("generation %d is safe (%v), and a record of %d is not", g, err, one)
	}
	close(goOn)
	r.settle(two)
	var values []string
	for _, rec := range b.read(3) {
		values = append(values, string(rec.Value))
	}
	slices.Sort(values)
	if got := strings.Join(values, " "); got != "a b held up" {
		t.Errorf("the topic has %s", got)
	}
}

func TestSink_WhatTheBrokerRefusesEndsTheAttempt(t *testing.T) {
	b := newBroker(t, 1)
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		in := req.(*kmsg.ProduceRequest)
		out := in.ResponseKind().(*kmsg.ProduceResponse)
		for _, tp := range in.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = tp.Topic, tp.TopicID
			for _, p := range tp.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.MessageTooLarge.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	r := openSink(t, b.sink(Properties{"enable.idempotence": "false"}))
	r.write(sink.Record{Value: []byte("v")})
	r.writer.Mark()
	want := `a record for topic "` + testTopic + `" on ` + b.bootstrap + " was not written: "
	if err := r.failure(); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the failure is %v, want %s...", err, want)
	}
}

// TestSink_FullWhileNobodyAnswers: what waits is bounded, and Close waits for nobody.
func TestSink_FullWhileNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := NewSink(testTopic, Properties{"bootstrap.servers": l.Addr().String(), "queue.buffering.max.messages": "10"}).WithDeliveryGuarantee(sink.AtLeastOnce)
	r := openSink(t, s)
	big := make([]byte, 1<<16)
	for range 2 * fullBytes / len(big) {
		r.write(sink.Record{Value: big})
	}
	if !r.writer.Full() {
		t.Error("the writer is not full")
	}
	if g := r.writer.Mark(); g != 1 {
		t.Errorf("generation %d", g)
	}
	if g, err := r.writer.Safe(); g != 0 || err != nil {
		t.Errorf("generation %d is safe (%v)", g, err)
	}
	if err := r.writer.Close(); err != nil {
		t.Error(err)
	}
}

// TestSink_RoomIsTold to who was told that there is none.
func TestSink_RoomIsTold(t *testing.T) {
	b := newBroker(t, 1)
	r := openSink(t, b.sink(Properties{"queue.buffering.max.messages": "10"}))
	big := make([]byte, 1<<16)
	for range 4 * fullBytes / len(big) {
		r.write(sink.Record{Value: big})
	}
	for r.writer.Full() {
		r.await()
	}
	r.settle(r.writer.Mark())
	await.Until(t, patience, "the topic", func() bool { return len(b.read(4*fullBytes/len(big))) == 4*fullBytes/len(big) }, func() string { return "" })
}

func TestSink_BadInput(t *testing.T) {
	ok := Properties{"bootstrap.servers": "127.0.0.1:1"}
	with := func(k, v string) Properties {
		return Properties{"bootstrap.servers": "127.0.0.1:1", k: v}
	}
	for name, c := range map[string]struct {
		sink *Sink
		want string
	}{
		"no topic":         {NewSink("", ok), "a topic and bootstrap.servers are needed"},
		"no servers":       {NewSink("t", nil), "a topic and bootstrap.servers are needed"},
		"transactional.id": {NewSink("t", with("transactional.id", "x")), "transactional.id is not for programs; the guarantee exactly-once will have transactions of its own"},
		"acks 0":           {NewSink("t", with("acks", "0")).WithDeliveryGuarantee(sink.AtLeastOnce), "acks is 0, and the guarantee at-least-once needs the broker's answer; leave it out, or set it to all"},
		"no reports":       {NewSink("t", with("delivery.report.only.error", "true")), "delivery.report.only.error is true, and without reports nobody knows what is written; leave it out"},
		"misspelt":         {NewSink("t", with("compresion.type", "lz4")), `No such configuration property: "compresion.type"`},
		"secret in error":  {NewSink("t", with("sasl.password", "hunter2\x00")), ""},
	} {
		_, err := c.sink.Spec()
		if c.want == "" {
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, sink.ErrPermanent) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for acks, idempotent := range map[string]string{"all": "true", "-1": "true", "1": ""} {
		if got := NewSink("t", with("acks", acks)).properties["enable.idempotence"]; got != idempotent {
			t.Errorf("with acks %s enable.idempotence is %q", acks, got)
		}
	}
	spec, err := NewSink("t", with("acks", "0")).Spec()
	if err != nil || spec.Guarantee != sink.None || spec.Connector != "kafka" {
		t.Errorf("%+v, %v", spec, err)
	}
	if _, ok := spec.Properties["sasl.password"]; ok {
		t.Error("a secret is in the specification")
	}
}
