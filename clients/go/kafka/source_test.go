package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/await"
)

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
	await.Until(t, patience, "a word that it waits", func() bool { return logs.count("waiting") > 0 })
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
