package testop

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/integration/harness"
)

// record is what the operator sees of a record.
type record struct {
	Partition uint32
	Offset    int64
	Key       string
}

func deserialize(r holdfast.Record) (record, error) {
	return record{r.Partition, r.Offset, string(r.Key)}, nil
}

// topic is the name that the feed's splits carry.
const topic = "feed"

// feed reads a harness.Feed.
type feed struct{ cfg harness.OperatorConfig }

// Spec implements source.Source.
func (f *feed) Spec() (source.Spec, error) {
	return source.Spec{Connector: "feed", Topics: []string{topic}, Properties: map[string]string{
		"path": f.cfg.FeedPath, "seed": strconv.FormatUint(f.cfg.Seed, 10), "earliest": strconv.FormatBool(f.cfg.Earliest),
	}}, nil
}

// DiscoverSplits implements source.Source.
func (f *feed) DiscoverSplits(_ context.Context, o source.DiscoverOptions) ([]source.Split, error) {
	if f.cfg.NoSource {
		return nil, fmt.Errorf("feed %s: %w", f.cfg.FeedPath, source.ErrSourceNotFound)
	}
	var out []source.Split
	for p := range f.cfg.Partitions {
		s := source.Split{Topic: topic, Partition: uint32(p)}
		if o.ResolveOffsets {
			start, err := f.start(p)
			if err != nil {
				return nil, err
			}
			s.StartOffset, s.Resolved = start, true
		}
		out = append(out, s)
	}
	return out, nil
}

// start is where auto.offset.reset says.
func (f *feed) start(partition int) (int64, error) {
	head, first, err := f.bounds(partition)
	if f.cfg.Earliest {
		return first, err
	}
	return head, err
}

func (f *feed) bounds(partition int) (head, first int64, err error) {
	raw, err := os.ReadFile(f.cfg.FeedPath)
	if err != nil {
		return 0, 0, err
	}
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(raw[8*i:])) }
	return at(partition), at(f.cfg.Partitions + partition), nil
}

// Open implements source.Source.
func (f *feed) Open(_ context.Context, o source.OpenOptions) (source.Reader, error) {
	r := &reader{f: f, splits: o.Splits}
	for _, s := range o.Splits {
		next := s.StartOffset
		_, first, err := f.bounds(int(s.Partition))
		if err == nil && !s.Resolved {
			next, err = f.start(int(s.Partition))
		}
		if err != nil {
			return nil, err
		}
		if next < first {
			return nil, &source.OffsetOutOfRangeError{Topic: topic, Partition: s.Partition, Offset: next, First: first}
		}
		r.next = append(r.next, next)
	}
	return r, nil
}

type reader struct {
	f      *feed
	splits []source.Split
	next   []int64
}

// Poll implements source.Reader.
func (r *reader) Poll(ctx context.Context, b *source.Batch, limit int) error {
	deadline := time.Now().Add(50 * time.Millisecond)
	for {
		done := true
		for i, s := range r.splits {
			end, _, err := r.f.bounds(int(s.Partition))
			if err != nil {
				return err
			}
			if r.f.cfg.Limit > 0 {
				end = min(end, r.f.cfg.Limit)
			}
			// Splits share the batch.
			room := max(limit/len(r.splits), 1)
			for ; r.next[i] < end && room > 0 && b.Len() < limit; r.next[i]++ {
				b.Append(source.Entry{
					Split: i, Offset: r.next[i], LeaderEpoch: -1,
					Key: []byte(harness.RecordKey(r.f.cfg.Seed, s.Partition, r.next[i], r.f.cfg.Keys)),
				})
				room--
			}
			done = done && r.f.cfg.Limit > 0 && r.next[i] >= r.f.cfg.Limit
		}
		if done {
			return io.EOF
		}
		if b.Len() > 0 || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Millisecond):
		}
	}
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
