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

// TestSink_CheckpointWaitsForTheBroker: results whose broker is away are in no
// checkpoint. The operator is killed while they wait in it; had a checkpoint completed
// behind them, they would be lost.
func TestSink_CheckpointWaitsForTheBroker(t *testing.T) {
	const each = 50
	input, output, l := sharedBroker(t), ownBroker(t), startLocal(t)
	output.start()
	in, out := input.topic(1), output.topic(1)
	e := l.startExample(input, "waiting", in, nil, "-checkpoint-enable", "-checkpoint-interval", "1h", "-auto-offset-reset", "earliest",
		"-output-topic", out, "-output-bootstrap-servers", output.address)
	l.waitStatus("waiting", "RUNNING")
	var all []printed
	more := func(process int) {
		var values []string
		for range each {
			v := fmt.Sprint("r", len(all))
			values, all = append(values, v), append(all, printed{v, int64(len(all) + 1)})
		}
		input.produce(in, values...)
		l.waitPrinted("waiting", process, all...)
	}
	more(0)
	output.waitResults(out, all)
	l.must("checkpoint", "waiting")
	newest := l.waitStatus("waiting", "RUNNING").Newest
	output.kill()
	more(0) // printed, so they are processed and put out
	asked := make(chan int, 1)
	go func() {
		_, _, code := l.run("checkpoint", "waiting")
		asked <- code
	}()
	pending := func() (n int) {
		var list struct {
			Checkpoints []struct {
				Status string `json:"status"`
			} `json:"checkpoints"`
		}
		l.json(&list, "checkpoints", "waiting")
		for _, c := range list.Checkpoints {
			if c.Status == "PENDING" {
				n++
			}
		}
		return n
	}
	harness.Until(t, "the checkpoint to begin", func() error {
		if pending() == 0 {
			return fmt.Errorf("no checkpoint is pending")
		}
		return nil
	})
	more(0) // behind the barrier
	if d := l.waitStatus("waiting", "RUNNING"); d.Newest != newest || pending() == 0 {
		t.Errorf("checkpoint %d completed while the broker was away", d.Newest)
	}
	e.killOperator()
	output.start()
	if code := <-asked; code == 0 {
		t.Error("the checkpoint that waited for the broker completed")
	}
	output.waitResults(out, all)
	l.must("checkpoint", "waiting")
	l.waitPosition("waiting", int64(len(all)))
	if got := output.results(out); len(got) != len(all) {
		t.Errorf("%d different results for %d records", len(got), len(all))
	}
	l.must("cancel", "waiting")
	<-e.Done()
}
