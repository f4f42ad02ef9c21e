package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

var resultPattern = regexp.MustCompile(`: \((.*),(\d+)\)$`)

// results are how often each result of the example is in a topic.
func (b *broker) results(topic string) map[printed]int {
	b.t.Helper()
	out := map[printed]int{}
	for line, n := range b.counts(topic, 1) {
		m := resultPattern.FindStringSubmatch(line)
		if m == nil {
			b.t.Fatalf("%q is no result of the example", line)
		}
		number, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			b.t.Fatal(err)
		}
		out[printed{m[1], number}] += int(n)
	}
	return out
}

// waitResults waits until each of these results is in a topic.
func (b *broker) waitResults(topic string, want []printed) map[printed]int {
	b.t.Helper()
	var got map[printed]int
	harness.Until(b.t, fmt.Sprintf("%d results in %s", len(want), topic), func() error {
		got = b.results(topic)
		for _, w := range want {
			if got[w] == 0 {
				return fmt.Errorf("%v is not there, of %d results", w, len(got))
			}
		}
		return nil
	})
	return got
}

// TestSink_AtLeastOnce: with a long interval and several kills every result is in the
// topic, and what was put out after the newest checkpoint is there again. Each kill
// comes after its records were put out and before a checkpoint that has them, so the
// test cannot pass without a repetition.
func TestSink_AtLeastOnce(t *testing.T) {
	const rounds, each = 4, 25
	b, l := sharedBroker(t), startLocal(t)
	in, out := b.topic(1), b.topic(1)
	e := l.startExample(b, "alo", in, nil, "-checkpoint-enable", "-checkpoint-interval", "1h", "-auto-offset-reset", "earliest", "-output-topic", out, "-delivery-guarantee", "at-least-once")
	l.waitStatus("alo", "RUNNING")
	var all []printed
	more := func() {
		var values []string
		for range each {
			v := fmt.Sprint("r", len(all))
			values, all = append(values, v), append(all, printed{v, int64(len(all) + 1)})
		}
		b.produce(in, values...)
		b.waitResults(out, all)
	}
	for range rounds {
		more()
		l.must("checkpoint", "alo") // ready only when they are confirmed
		more()
		attempt := l.waitStatus("alo", "RUNNING").Subtasks[0].Attempt
		e.killOperator()
		l.waitJob("alo", "another attempt", func(d described) error {
			if d.Status != "RUNNING" || d.Subtasks[0].Attempt == attempt {
				return fmt.Errorf("%s, attempt %d", d.Status, d.Subtasks[0].Attempt)
			}
			return nil
		})
	}
	more()
	l.must("checkpoint", "alo")
	got := b.waitResults(out, all)
	once, again, lost := 0, 0, 0
	for _, p := range all {
		switch got[p] {
		case 0:
			lost++
		case 1:
			once++
		default:
			again++
		}
	}
	for p := range got {
		if !slices.Contains(all, p) {
			t.Errorf("%v is in the output and is no result", p)
		}
	}
	if lost != 0 || again < rounds*each {
		t.Errorf("%d results lost, %d came again; want 0, and at least the %d that were put out behind a checkpoint", lost, again, rounds*each)
	}
	t.Logf("%d records, %d kills: %d results once, %d again, %d lost", len(all), rounds, once, again, lost)
	l.must("cancel", "alo")
	<-e.Done()
}

// TestSink_BrokerKilled: a sink waits for its broker, checkpoints wait for the sink,
// and every result is there at the end.
func TestSink_BrokerKilled(t *testing.T) {
	const each = 50
	b, l := ownBroker(t), startLocal(t)
	b.start()
	in, out := b.topic(1), b.topic(1)
	e := l.startExample(b, "patient-sink", in, nil, "-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest", "-output-topic", out)
	l.waitStatus("patient-sink", "RUNNING")
	var all []printed
	more := func() {
		var values []string
		for range each {
			v := fmt.Sprint("r", len(all))
			values, all = append(values, v), append(all, printed{v, int64(len(all) + 1)})
		}
		b.produce(in, values...)
	}
	more()
	b.waitResults(out, all)
	more()
	b.kill()
	b.start()
	b.waitResults(out, all)
	more()
	l.waitPosition("patient-sink", int64(len(all)))
	got := b.results(out)
	again := 0
	for _, p := range all {
		if got[p] > 1 {
			again++
		}
	}
	if len(got) != len(all) {
		t.Errorf("%d different results for %d records", len(got), len(all))
	}
	t.Logf("%d results over a kill of the broker, %d of them again", len(all), again)
	l.must("cancel", "patient-sink")
	<-e.Done()
}
