package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const waitLimit = 20 * time.Second

// output is a directory with one process's file.
type output struct {
	t    *testing.T
	path string
	*watcher
}

func newOutput(t *testing.T) *output {
	t.Helper()
	dir := t.TempDir()
	return &output{t: t, path: filepath.Join(dir, "holdfast-u-j-0-h.out"), watcher: newWatcher(dir)}
}

func (o *output) write(text string, at time.Time) {
	o.t.Helper()
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		o.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		o.t.Fatal(err)
	}
	o.look(at)
	if err := o.failure(); err != nil {
		o.t.Fatal(err)
	}
}

func printed(word string, n int) string {
	return fmt.Sprintf("2017-03-17T08:21:51.249: (%s,%d)\n", word, n)
}

func flowing(g *gap) bool {
	select {
	case <-g.flows:
		return true
	default:
		return false
	}
}

func TestGap_IsTheLongestTimeWithoutANewNumber(t *testing.T) {
	o, start := newOutput(t), time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	o.write(printed("kelp", 1)+printed("reef", 1), at(0))
	g := o.begin(at(100), map[string]int64{"kelp": 2, "reef": 1})
	o.write(printed("kelp", 2), at(150)) // sent before the kill: progress, but no proof
	if flowing(g) {
		t.Fatal("(kelp,2) was sent before the kill")
	}
	o.write(printed("kelp", 1), at(300)) // printed again: no progress
	o.write(printed("reef", 2), at(500))
	if !flowing(g) {
		t.Fatal("(reef,2) was sent after the kill")
	}
	o.write(printed("kelp", 3), at(510))
	if g.longest != 350*time.Millisecond {
		t.Fatalf("longest %s, want 350 ms", g.longest)
	}
	if lines, repeated := o.count(); lines != 6 || repeated != 1 {
		t.Fatalf("%d lines, %d repeated", lines, repeated)
	}
}

func TestGap_SilenceThatGoesOnCounts(t *testing.T) {
	o := newOutput(t)
	g := o.begin(time.Now().Add(-time.Hour), nil)
	if got := o.end(g); got < time.Hour {
		t.Fatalf("%s", got)
	}
}

func TestWatcher_TornLineIsTakenWhenItIsWhole(t *testing.T) {
	o := newOutput(t)
	o.write("2017-03-17T08:21:51.249: (ke", time.Now())
	if o.reached(map[string]int64{"kelp": 1}) {
		t.Fatal("half a line")
	}
	o.write("lp,1)\nnoise\n", time.Now())
	if !o.reached(map[string]int64{"kelp": 1}) || o.reached(map[string]int64{"kelp": 1, "reef": 1}) {
		t.Fatal("reached is wrong")
	}
}

func TestWatcher_NewestOfTheFilesThatAreAsked(t *testing.T) {
	o, start := newOutput(t), time.Now()
	first := o.path
	o.write(printed("kelp", 1), start)
	o.path = strings.Replace(first, "-0-", "-1-", 1)
	o.write(printed("kelp", 2), start.Add(time.Second))
	if got := o.newest([]string{first, o.path}); got != o.path {
		t.Fatalf("newest %s", got)
	}
	if got := o.newest([]string{first}); got != first {
		t.Fatalf("newest of one %s", got)
	}
	if got := o.newest([]string{"other"}); got != "" {
		t.Fatalf("newest of none %s", got)
	}
}

func TestTraffic_EveryRecordThatIsCountedIsInTheTopic(t *testing.T) {
	broker, err := startBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	tr, err := newTraffic(broker.ListenAddrs(), 2000)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	tr.start(ctx)
	for total := int64(0); total < 200; _, total = tr.counts() {
		if ctx.Err() != nil {
			t.Fatal("the records do not flow")
		}
		<-time.After(time.Millisecond)
	}
	if err := tr.pause(ctx); err != nil {
		t.Fatal(err)
	}
	want, total := tr.counts()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	got := map[string]int64{}
	for n := int64(0); n < total; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", n, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got[string(r.Value)]++; n++ })
	}
	for word, n := range want {
		if got[word] != n {
			t.Errorf("%s: %d in the topic, %d counted", word, got[word], n)
		}
	}
}

func TestTimeline_JSONIsOneObjectALine(t *testing.T) {
	var b bytes.Buffer
	tl := &Timeline{Out: &b, JSON: true}
	tl.say("step %d", 1)
	tl.kill("the leader %s", "n1")
	tl.text("for people only\n")
	for i, want := range []Event{{Event: "step", Text: "step 1"}, {Event: "kill", Text: "SIGKILL the leader n1"}} {
		var got Event
		line, err := b.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &got); err != nil || got.Event != want.Event || got.Text != want.Text {
			t.Errorf("line %d: %s, %v", i, line, err)
		}
	}
	if b.Len() != 0 {
		t.Errorf("more: %s", b.String())
	}
}

func TestMakeDir_AnotherRunsDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := &demo{cfg: Config{Dir: dir}}
	if got, err := d.makeDir(); err != nil || got != dir || d.ownDir {
		t.Fatalf("%s, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.makeDir(); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Fatalf("got %v", err)
	}
}
