// Package datagen is a source that makes its records: the same ones for the
// same options, so that any position can be gone on from.
package datagen

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// Options say what to generate.
type Options struct {
	// Splits are read by different subtasks; 0 means 1.
	Splits int
	// Records of each split; 0 means without end.
	Records int64
	// RecordsPerSecond of each split; 0 means as fast as possible.
	RecordsPerSecond float64
	// Keys is the number of different keys in each split; 0 means 1.
	Keys int64
	// Seed changes which record has which key.
	Seed uint64
}

// Source generates records whose key is "key-<n>" and whose value is
// "<split>:<offset>". A key occurs in one split only.
type Source struct{ o Options }

// NewSource makes a source.
func NewSource(o Options) *Source {
	if o.Splits == 0 {
		o.Splits = 1
	}
	if o.Keys == 0 {
		o.Keys = 1
	}
	return &Source{o}
}

// topic is the name that splits and positions carry.
const topic = "datagen"

// Spec implements source.Source.
func (s *Source) Spec() (source.Spec, error) {
	if s.o.Splits < 0 || s.o.Records < 0 || s.o.RecordsPerSecond < 0 || s.o.Keys < 0 {
		return source.Spec{}, fmt.Errorf("%w: datagen options must not be negative", source.ErrPermanent)
	}
	return source.Spec{Connector: "datagen", Topics: []string{topic}, Properties: map[string]string{
		"splits":             strconv.Itoa(s.o.Splits),
		"records":            strconv.FormatInt(s.o.Records, 10),
		"records-per-second": strconv.FormatFloat(s.o.RecordsPerSecond, 'g', -1, 64),
		"keys":               strconv.FormatInt(s.o.Keys, 10),
		"seed":               strconv.FormatUint(s.o.Seed, 10),
	}}, nil
}

// DiscoverSplits implements source.Source.
func (s *Source) DiscoverSplits(_ context.Context, o source.DiscoverOptions) ([]source.Split, error) {
	splits := make([]source.Split, s.o.Splits)
	for i := range splits {
		splits[i] = source.Split{Topic: topic, Partition: uint32(i), Resolved: o.ResolveOffsets}
	}
	return splits, nil
}

// Open implements source.Source. A split without a start offset begins at 0.
func (s *Source) Open(_ context.Context, o source.OpenOptions) (source.Reader, error) {
	r := &reader{o: s.o, splits: o.Splits, began: time.Now()}
	for _, sp := range o.Splits {
		if s.o.Records > 0 && sp.StartOffset > s.o.Records || sp.StartOffset < 0 {
			return nil, &source.OffsetOutOfRangeError{Topic: sp.Topic, Partition: sp.Partition, Offset: sp.StartOffset}
		}
		r.next = append(r.next, sp.StartOffset)
		r.first = append(r.first, sp.StartOffset)
	}
	return r, nil
}

type reader struct {
	o      Options
	splits []source.Split
	first  []int64
	next   []int64
	began  time.Time
	key    []byte
	value  []byte
}

// Poll implements source.Reader. Splits take turns.
func (r *reader) Poll(ctx context.Context, b *source.Batch, max int) error {
	if wait := r.untilDue(); wait > 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
	for more := true; more && b.Len() < max; {
		more = false
		for i := range r.splits {
			if b.Len() < max && r.due(i) {
				r.generate(b, i)
				more = true
			}
		}
	}
	if r.allDone() {
		return io.EOF
	}
	return nil
}

func (r *reader) done(i int) bool { return r.o.Records > 0 && r.next[i] >= r.o.Records }

func (r *reader) allDone() bool {
	if r.o.Records == 0 {
		return false
	}
	for i := range r.splits {
		if !r.done(i) {
			return false
		}
	}
	return true
}

// dueAt is when split i may generate its next record.
func (r *reader) dueAt(i int) time.Time {
	if r.o.RecordsPerSecond == 0 {
		return r.began
	}
	n := float64(r.next[i] - r.first[i])
	return r.began.Add(time.Duration(n / r.o.RecordsPerSecond * float64(time.Second)))
}

func (r *reader) due(i int) bool {
	return !r.done(i) && (r.o.RecordsPerSecond == 0 || !time.Now().Before(r.dueAt(i)))
}

// untilDue is how long to wait for the next record, at most 50 ms.
func (r *reader) untilDue() time.Duration {
	if r.allDone() {
		return 0
	}
	wait := 50 * time.Millisecond
	for i := range r.splits {
		if !r.done(i) {
			wait = min(wait, time.Until(r.dueAt(i)))
		}
	}
	return max(wait, 0)
}

func (r *reader) generate(b *source.Batch, i int) {
	offset := r.next[i]
	r.next[i]++
	split := int64(r.splits[i].Partition)
	n := int64(mix(r.o.Seed+uint64(split)<<48+uint64(offset))%uint64(r.o.Keys))*int64(r.o.Splits) + split
	r.key = strconv.AppendInt(append(r.key[:0], "key-"...), n, 10)
	r.value = strconv.AppendInt(append(strconv.AppendInt(r.value[:0], split, 10), ':'), offset, 10)
	b.Append(source.Entry{Split: i, Offset: offset, LeaderEpoch: -1, Key: r.key, Value: r.value})
}

// mix is the finalizer of splitmix64: it spreads neighbouring numbers.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Positions implements source.Reader.
func (r *reader) Positions(dst []source.Position) []source.Position {
	for _, n := range r.next {
		dst = append(dst, source.Position{NextOffset: n, LeaderEpoch: -1})
	}
	return dst
}

// CommitForDisplay implements source.Reader; there is nowhere to show it.
func (r *reader) CommitForDisplay([]source.Position) {}

// Close implements source.Reader.
func (r *reader) Close() error { return nil }
