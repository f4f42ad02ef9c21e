package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/await"
)

// What the outside can do to a source, with the exact text; BROKER stands for the
// address of the broker.
func TestSource_BadInput(t *testing.T) {
	b := newBroker(t, 1)
	b.produce(0, "a", "b", "c", "d")
	b.deleteBefore(0, 2)
	missing := NewSource("no-such-topic", b.source(nil).properties)
	discover := func(s *Source) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.DiscoverSplits(ctx, source.DiscoverOptions{ResolveOffsets: true, Logger: quiet})
			return err
		}
	}
	opened := func(s *Source, splits ...source.Split) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.Open(ctx, source.OpenOptions{Splits: splits, Logger: quiet})
			return err
		}
	}
	const noTopic = `source not found: topic "no-such-topic" on BROKER; create it, or mend its name or bootstrap.servers`
	for _, c := range []struct {
		name string
		call func(context.Context) error
		want string
	}{
		{"topic missing", discover(missing), "read metadata: " + noTopic},
		{"topic gone", opened(missing, source.Split{Topic: "no-such-topic", Resolved: true}), "read offsets: " + noTopic},
		{"offset gone", opened(b.source(nil), at(0, 1)),
			"offset 1 of " + testTopic + "[0] is out of range: the first one available is 2; `holdfast resume --accept-gap` goes on from there, `holdfast cancel` gives up"},
		{"offset to come", opened(b.source(nil), at(0, 5)),
			"offset 5 of " + testTopic + "[0] is out of range: the first one available is 2; `holdfast resume --accept-gap` goes on from there, `holdfast cancel` gives up"},
		{"no start position", discover(b.source(Properties{"auto.offset.reset": "none"})),
			"source cannot be read as configured: " + testTopic + "[0] has no committed offset in range and auto.offset.reset is none; set that to earliest or latest, or commit an offset for the group"},
		{"unknown reset policy", discover(b.source(Properties{"auto.offset.reset": "sometimes"})),
			`source cannot be read as configured: auto.offset.reset is "sometimes" and must be latest, earliest or none`},
		{"unknown property", discover(b.source(Properties{"no.such.property": "x"})),
			`source cannot be read as configured: No such configuration property: "no.such.property"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			want := strings.ReplaceAll(c.want, "BROKER", b.bootstrap)
			if err := c.call(ctx); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// A broker that is down is waited for, and that is said with its address.
func TestSource_BrokerDownIsTold(t *testing.T) {
	port := freePort(t)
	logs := &safeBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s := NewSource(testTopic, Properties{"bootstrap.servers": fmt.Sprintf("127.0.0.1:%d", port)})
		_, err := s.DiscoverSplits(ctx, source.DiscoverOptions{Logger: slog.New(slog.NewTextHandler(logs, nil))})
		done <- err
	}()
	want := regexp.MustCompile(fmt.Sprintf(`level=WARN msg="Kafka does not answer, waiting" topic=%s bootstrap.servers=127.0.0.1:%d error=`, testTopic, port))
	await.Until(t, patience, "a word that it waits", func() bool { return want.MatchString(logs.String()) }, logs.String)
	cancel()
	if err := <-done; err == nil {
		t.Error("splits were found without a broker")
	}
}
