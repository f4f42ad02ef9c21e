package datagen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// all reads splits from the given offsets to the end.
func all(t interface{ Fatalf(string, ...any) }, o Options, max int, starts ...int64) []string {
	var splits []source.Split
	for i, s := range starts {
		splits = append(splits, source.Split{Topic: topic, Partition: uint32(i), StartOffset: s, Resolved: true})
	}
	r, err := NewSource(o).Open(context.Background(), source.OpenOptions{Splits: splits})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	var lines []string
	next := append([]int64{}, starts...)
	for {
		var b source.Batch
		err := r.Poll(context.Background(), &b, max)
		for i := range b.Len() {
			if b.Offset(i) != next[b.Split(i)] {
				t.Fatalf("offset %d follows %d", b.Offset(i), next[b.Split(i)])
			}
			next[b.Split(i)]++
			lines = append(lines, fmt.Sprintf("%s %s", b.Key(i), b.Value(i)))
		}
		for i, p := range r.Positions(nil) {
			if p.NextOffset != next[i] {
				t.Fatalf("position %d, want %d", p.NextOffset, next[i])
			}
		}
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil || b.Len() > max {
			t.Fatalf("poll: %v, %d records", err, b.Len())
		}
	}
}

func TestSource_AnyPositionCanBeGoneOnFrom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			Splits: 1, Records: rapid.Int64Range(1, 50).Draw(t, "records"),
			Keys: rapid.Int64Range(1, 9).Draw(t, "keys"), Seed: rapid.Uint64().Draw(t, "seed"),
		}
		whole := all(t, o, rapid.IntRange(1, 20).Draw(t, "batch"), 0)
		from := rapid.Int64Range(0, o.Records).Draw(t, "from")
		rest := all(t, o, rapid.IntRange(1, 20).Draw(t, "batch"), from)
		if fmt.Sprint(whole[from:]) != fmt.Sprint(rest) {
			t.Fatalf("from %d: %v, want %v", from, rest, whole[from:])
		}
	})
}

func TestSource_KeysBelongToOneSplit(t *testing.T) {
	o := Options{Splits: 3, Records: 200, Keys: 5}
	owner := map[string]string{}
	for _, line := range all(t, o, 64, 0, 0, 0) {
		key, value, _ := strings.Cut(line, " ")
		split, _, _ := strings.Cut(value, ":")
		if other, ok := owner[key]; ok && other != split {
			t.Fatalf("%s is in splits %s and %s", key, split, other)
		}
		owner[key] = split
	}
	if len(owner) != 15 {
		t.Fatalf("%d keys, want 15", len(owner))
	}
}

func TestSource_RateIsKept(t *testing.T) {
	began := time.Now()
	all(t, Options{Splits: 1, Records: 20, RecordsPerSecond: 200}, 100, 0)
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Fatalf("20 records at 200 a second took %s", took)
	}
}

func TestSource_OffsetOutOfRange(t *testing.T) {
	_, err := NewSource(Options{Records: 5}).Open(context.Background(), source.OpenOptions{Splits: []source.Split{{StartOffset: 6, Resolved: true}}})
	var gap *source.OffsetOutOfRangeError
	if !errors.As(err, &gap) {
		t.Fatalf("open returned %v", err)
	}
}

func TestSource_Splits(t *testing.T) {
	s := NewSource(Options{Splits: 2})
	for _, resolve := range []bool{true, false} {
		splits, err := s.DiscoverSplits(context.Background(), source.DiscoverOptions{ResolveOffsets: resolve})
		if err != nil || len(splits) != 2 || splits[0].Resolved != resolve || splits[1].Partition != 1 {
			t.Fatalf("splits %v, %v", splits, err)
		}
	}
}

func TestReader_WithoutSplits(t *testing.T) {
	for records, want := range map[int64]error{5: io.EOF, 0: nil} {
		r, err := NewSource(Options{Records: records}).Open(context.Background(), source.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Poll(context.Background(), &source.Batch{}, 10); !errors.Is(err, want) {
			t.Errorf("%d records: poll returned %v, want %v", records, err, want)
		}
	}
}
