package e2e

import (
	"fmt"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// The walk-through of the example that Flink's users know: produce a b c, kill
// the task manager, produce while it is down, start another one.

func TestWalkThrough_CheckpointsEnabled(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := b.topic(1)
	never := []string{"--restart", "never"}
	first := l.startExample(b, "enabled", topic, never, "-checkpoint-enable", "-checkpoint-interval", "200")
	l.waitStatus("enabled", "RUNNING")
	b.produce(topic, "a", "b", "c")
	l.waitPrinted("enabled", 0, printed{"a", 1}, printed{"b", 2}, printed{"c", 3})
	l.waitPosition("enabled", 3)
	pid := first.killOperator()
	<-first.Done()
	b.produce(topic, "d", "e")
	second := l.startExample(b, "enabled", topic, never, "-checkpoint-enable", "-checkpoint-interval", "200")
	// No data is lost, the counter goes on, and the output is in another file.
	l.waitPrinted("enabled", 1, printed{"d", 4}, printed{"e", 5})
	b.produce(topic, "f")
	l.waitPrinted("enabled", 1, printed{"d", 4}, printed{"e", 5}, printed{"f", 6})
	t.Logf("operator %d killed; operator %d went on with (d,4) (e,5) (f,6) in %s", pid, second.operatorPid(), l.outFile("enabled", 1))
	if got := l.must("state", "list", "enabled", "-o", "json"); got == "" {
		t.Error("holdfast state list shows nothing")
	}
	l.must("cancel", "enabled")
	<-second.Done()
}

func TestWalkThrough_CheckpointsDisabled(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := b.topic(1)
	never := []string{"--restart", "never"}
	first := l.startExample(b, "disabled", topic, never)
	l.waitStatus("disabled", "RUNNING")
	begun := l.begin(b, "disabled", topic, 0)
	b.produce(topic, "a", "b", "c")
	l.waitPrinted("disabled", 0, append(begun, printed{"a", int64(len(begun)) + 1}, printed{"b", int64(len(begun)) + 2}, printed{"c", int64(len(begun)) + 3})...)
	first.killOperator()
	<-first.Done()
	b.produce(topic, "d", "e")
	l.startExample(b, "disabled", topic, never)
	again := l.begin(b, "disabled", topic, 1)
	// What came meanwhile is lost for good, and the counter is right.
	if want := int64(len(begun)) + 4; again[0].number != want {
		t.Errorf("the counter goes on with %d after it was %d", again[0].number, want-1)
	}
	for i, p := range again {
		if p.record == "d" || p.record == "e" {
			t.Errorf("%v was printed, which was produced while nothing read", p)
		}
		if p.number != again[0].number+int64(i) {
			t.Errorf("the numbers printed are %v", again)
		}
	}
	t.Logf("printed (c,%d); d and e were lost; then %v", int64(len(begun))+3, again)
}

// begin produces probes until one is printed: only then has the attempt found
// out where the newest record is. It returns what the process has printed.
func (l *local) begin(b *broker, job, topic string, n int) []printed {
	l.t.Helper()
	probes := 0
	var got []printed
	harness.Until(l.t, fmt.Sprintf("process %d of %s to read", n, job), func() (err error) {
		if got, err = l.printedBy(job, n); err != nil {
			return err
		}
		if len(got) == 0 {
			probes++
			b.produce(topic, fmt.Sprintf("probe-%d", probes))
			return fmt.Errorf("it printed nothing after %d probes", probes)
		}
		if last := got[len(got)-1].record; last != fmt.Sprintf("probe-%d", probes) {
			return fmt.Errorf("it printed %q last, and probe %d was produced", last, probes)
		}
		return nil
	})
	return got
}

// A run restarts its operator by itself, and each process takes the next file.
func TestWalkThrough_RunRestartsTheOperator(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := b.topic(1)
	e := l.startExample(b, "restarted", topic, nil, "-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest")
	l.waitStatus("restarted", "RUNNING")
	for n := range 3 {
		record := fmt.Sprintf("record-%d", n)
		b.produce(topic, record)
		l.waitPrinted("restarted", n, printed{record, int64(n) + 1})
		l.waitPosition("restarted", int64(n)+1)
		pid := e.killOperator()
		harness.Until(t, "another operator", func() error {
			if e.operatorPid() == pid {
				return fmt.Errorf("the newest is still %d", pid)
			}
			return nil
		})
	}
	b.produce(topic, "last")
	l.waitPrinted("restarted", 3, printed{"last", 4})
}

func TestSource_MissingTopicFailsTheJob(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := harness.RandomName("no-such-topic")
	e := l.startExample(b, "missing", topic, nil, "-checkpoint-enable")
	d := l.waitStatus("missing", "FAILED")
	if d.Reason == nil || d.Reason.Reason != "SOURCE_NOT_FOUND" || d.Reason.Metadata["topic"] != topic {
		t.Errorf("the job failed with %+v; want SOURCE_NOT_FOUND that names %s", d.Reason, topic)
	}
	<-e.Done()
	if code := e.ExitCode(); code != 1 {
		t.Errorf("holdfast run of a failed job exits with %d, want 1", code)
	}
}

func TestSource_OffsetGoneSuspendsTheJob(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := b.topic(1)
	flags := []string{"-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest"}
	first := l.startExample(b, "gap", topic, []string{"--restart", "never"}, flags...)
	b.produce(topic, "r0", "r1", "r2", "r3", "r4")
	l.waitPrinted("gap", 0, printed{"r0", 1}, printed{"r1", 2}, printed{"r2", 3}, printed{"r3", 4}, printed{"r4", 5})
	l.waitPosition("gap", 5)
	first.killOperator()
	<-first.Done()
	b.produce(topic, "r5", "r6", "r7", "r8", "r9")
	b.deleteBefore(topic, 8)
	l.startExample(b, "gap", topic, nil, flags...)
	check := func() {
		t.Helper()
		d := l.waitStatus("gap", "SUSPENDED")
		want := map[string]string{"topic": topic, "partition": "0", "offset": "5", "first_offset": "8"}
		for key, value := range want {
			if d.Reason == nil || d.Reason.Reason != "OFFSET_OUT_OF_RANGE" || d.Reason.Metadata[key] != value {
				t.Fatalf("the job is suspended for %+v; want OFFSET_OUT_OF_RANGE with %v", d.Reason, want)
			}
		}
	}
	check()
	// Without accepting the gap it ends there again.
	l.must("resume", "gap")
	check()
	l.must("resume", "gap", "--accept-gap")
	l.waitPrinted("gap", 1, printed{"r8", 6}, printed{"r9", 7})
	t.Log("5 counted, 3 deleted, then (r8,6) (r9,7)")
}
