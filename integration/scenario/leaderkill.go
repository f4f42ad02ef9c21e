package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// traffic is a load that many kills can bear without an endless log: full
// windows, refilled at intervals.
const traffic = 4 * time.Millisecond

// LeaderKill kills leader after leader under traffic: every flush must be
// counted exactly once, no attempt may end, and the replicas must be equal
// (invariants 1, 3, 6 and 9). One flusher connects to whichever node leads, so
// that host and leader die together; the other one stays where it is.
func LeaderKill(t *testing.T, c *harness.Cluster, kills int) {
	with := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return leaderFirst(c) },
	})
	without := harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic})
	flushers := []*harness.Flusher{with, without}
	var gaps []time.Duration
	var inFlight []uint64
	for n := range kills {
		for _, f := range flushers {
			f.WaitAcked(20)
		}
		old := c.Leader()
		// In turn with everything sent and nothing answered, and with some of it
		// answered: then more of it is committed, and must not count again.
		moment := []func(int){with.WaitFull, with.WaitPartial, without.WaitPartial}[n%3]
		marks := marksInFlight(t, moment, flushers)
		c.Kill(old.Index)
		c.WaitForNewLeader(old)
		sent := uint64(0)
		for _, m := range marks {
			gaps = append(gaps, m.Gap())
			sent += m.InFlight
		}
		inFlight = append(inFlight, sent)
		c.Start(old.Index)
		c.WaitCaughtUp(old.Index)
	}
	for _, f := range flushers {
		checkFlusher(t, f)
	}
	with.CheckNewestCheckpoint()
	c.VerifyReplicas()
	t.Logf("flushes in flight at each kill: %v", inFlight)
	t.Logf("%d leaders killed (%s), from kill to the first new commit: %s", kills, c.Backend.Kind(), Distribution(gaps))
}

// marksInFlight waits for a moment of the first slots and marks it. The answers
// may be there by the time of the mark; a kill without a flush in flight would
// test nothing, so it then waits for the next such moment.
func marksInFlight(t *testing.T, moment func(slot int), flushers []*harness.Flusher) []*harness.Mark {
	t.Helper()
	const tries = 500
	for range tries {
		moment(0)
		var marks []*harness.Mark
		sent := uint64(0)
		for _, f := range flushers {
			m := f.MarkNow(0)
			marks, sent = append(marks, m), sent+m.InFlight
		}
		if sent > 0 {
			return marks
		}
	}
	t.Fatalf("at none of %d moments was a flush in flight", tries)
	return nil
}

// leaderFirst are all addresses, the leader's first if there is one.
func leaderFirst(c *harness.Cluster) []string {
	if l, err := c.LeaderNow(); err == nil {
		return c.Addresses(l.Index)
	}
	return c.Addresses()
}

// leaderLast are all addresses, the leader's last if there is one.
func leaderLast(c *harness.Cluster) []string {
	l, err := c.LeaderNow()
	if err != nil {
		return c.Addresses()
	}
	var others []int
	for i := range c.Size() {
		if i != l.Index {
			others = append(others, i)
		}
	}
	return c.Addresses(others...)
}

// checkFlusher compares a flusher's state with what it must be. Its attempt must
// have lived through everything.
func checkFlusher(t *testing.T, f *harness.Flusher) {
	t.Helper()
	st := checkCounts(t, f)
	if st.Attempts != f.Config.Slots {
		t.Errorf("%s needed %d attempts for %d slots; losing nodes must never end one", f.Config.Job, st.Attempts, f.Config.Slots)
	}
}

// checkCounts compares the state alone, where attempts may have ended.
func checkCounts(t *testing.T, f *harness.Flusher) harness.Stats {
	t.Helper()
	sum := f.Check()
	st := f.Stats()
	t.Logf("%s: %d flushes, sum %d, 0 lost, 0 double counted; %d resumes, %d frames sent again, %d reads within bounds",
		f.Config.Job, st.Flushes, sum, st.Resumes, st.Resent, st.Gets)
	return st
}

// Distribution renders min, median, 90th and 99th percentile, and max.
func Distribution(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	s := slices.Sorted(slices.Values(d))
	at := func(q float64) time.Duration {
		return s[min(int(q*float64(len(s))), len(s)-1)].Round(time.Millisecond / 10)
	}
	return strings.Join([]string{
		fmt.Sprintf("min %s", at(0)), fmt.Sprintf("p50 %s", at(0.5)), fmt.Sprintf("p90 %s", at(0.9)), fmt.Sprintf("p99 %s", at(0.99)), fmt.Sprintf("max %s", at(1)),
	}, ", ")
}
