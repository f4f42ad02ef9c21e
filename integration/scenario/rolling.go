package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// RollingRestart stops and starts every node in order, the leader too, as an
// upgrade does: operators are sent to other nodes and notice nothing else
// (invariants 1, 6, 9 and 10).
func RollingRestart(t *testing.T, c *harness.Cluster, rounds int) {
	l := startRollingLoad(t, c)
	for range rounds {
		for i := range c.Size() {
			l.roll(i, func() {})
		}
	}
	l.check()
}

// rollingLoad is what runs while nodes go in order and come back: flushers and
// operator processes, with and without checkpoints. None of them may be
// restarted.
type rollingLoad struct {
	t *testing.T
	c *harness.Cluster

	with, without *harness.Flusher
	feed          *harness.Feed
	stopFeed      func()
	printer       *harness.Operator
	attempts      map[string]uint64

	gaps, drains []time.Duration
}

// The operator processes of a rollingLoad.
const (
	rollingCounter = "counter" // with checkpoints
	rollingPrinter = "printer" // without; prints each record
)

func startRollingLoad(t *testing.T, c *harness.Cluster) *rollingLoad {
	l := &rollingLoad{t: t, c: c, attempts: map[string]uint64{}}
	l.with = harness.StartFlusher(c, harness.FlusherConfig{
		Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return leaderFirst(c) },
	})
	l.without = harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic})
	l.feed = harness.NewFeed(t, 1, 40)
	l.stopFeed = l.feed.Flow(10, traffic)
	for _, job := range []string{rollingCounter, rollingPrinter} {
		cfg := l.feed.Operator(job)
		if cfg.Print = job == rollingPrinter; !cfg.Print {
			cfg.CheckpointMs = 100
		}
		o := harness.StartOperator(t, cfg, c.Addresses())
		if cfg.Print {
			l.printer = o
		}
		c.WaitStatus(job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
		c.WaitCounted(job, 50)
		l.attempts[job] = c.MustDescribe(job).Subtasks[0].Attempt
	}
	return l
}

// pass waits until both kinds of jobs have gone on.
func (l *rollingLoad) pass() {
	l.with.WaitAcked(20)
	l.without.WaitAcked(20)
}

// roll stops a node in order, changes something and starts it again. The node
// must end with status 0 and catch up.
func (l *rollingLoad) roll(i int, change func()) {
	l.t.Helper()
	l.pass()
	mark, began := l.without.MarkNow(0), time.Now()
	l.c.Stop(i)
	l.drains = append(l.drains, time.Since(began))
	l.gaps = append(l.gaps, mark.Gap())
	l.pass()
	change()
	l.c.Start(i)
	l.c.WaitCaughtUp(i)
}

// check ends the load: every flush and record is there once, every printed line
// came once and in order, and every attempt is the one that began. An Assign, and
// nothing else, begins another, so none was applied.
func (l *rollingLoad) check() {
	l.t.Helper()
	l.stopFeed()
	for _, f := range []*harness.Flusher{l.with, l.without} {
		checkFlusher(l.t, f)
	}
	l.with.CheckNewestCheckpoint()
	for job, attempt := range l.attempts {
		counts := l.feed.CheckFinal(l.c, job, nil)
		d := l.c.MustDescribe(job)
		if st := d.Subtasks[0]; st.Attempt != attempt || st.RestoredCheckpoint != 0 || d.Summary.Restarts != 0 || len(d.Exceptions) != 0 {
			l.t.Errorf("%s began as attempt %d and is %d from checkpoint %d, with %d restarts: %v",
				job, attempt, st.Attempt, st.RestoredCheckpoint, d.Summary.Restarts, d.Exceptions)
		}
		l.t.Logf("%s: %d records counted exactly once, no new assignment", job, harness.Sum(counts))
	}
	l.checkPrinted()
	l.c.VerifyReplicas()
	l.t.Logf("%d nodes stopped in order: %s to drain; from the signal to the next new commit: %s",
		len(l.drains), Distribution(l.drains), Distribution(l.gaps))
}

// checkPrinted compares what the printer printed with the feed.
func (l *rollingLoad) checkPrinted() {
	l.t.Helper()
	var lines []harness.Line
	head := l.feed.Heads()[0]
	harness.Until(l.t, "the printer to have printed everything", func() (err error) {
		if lines, err = harness.ParseLines(l.printer.Output()); err == nil && int64(len(lines)) < head {
			err = errorf("%d of %d lines; it logged %s", len(lines), head, strings.TrimSpace(l.printer.Log()))
		}
		return err
	})
	counts := map[string]int64{}
	for i, line := range lines {
		key := harness.RecordKey(l.feed.Seed, 0, int64(i), l.feed.Keys)
		counts[key]++
		if want := (harness.Line{Offset: int64(i), Key: key, Count: counts[key]}); line != want {
			l.t.Fatalf("line %d is %v, want %v", i, line, want)
		}
	}
	l.t.Logf("%s: %d lines printed, each once and in order", rollingPrinter, len(lines))
}
