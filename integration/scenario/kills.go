package scenario

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Kills kills leaders and operators in turn, under traffic, and starts again
// what it killed: nothing is lost or counted twice, by flushers whose host dies
// with the leader and by real operators that lose changes behind their newest
// checkpoint, and the replicas are equal (invariants 1 to 4, 6, 9 and 10).
//
// A gap begins with the SIGKILL. A leader's ends with the first acknowledgement
// of a flush that was sent later; an operator's with the first record that
// nobody had processed before. A standby is there at each operator kill. Every
// other one is reported as its supervisor would report it (holdfast run does).
func Kills(t *testing.T, c *harness.Cluster, kills int) {
	k := newKills(t, c)
	for n := range kills {
		k.leader(n)
		k.operator(n%2 == 1)
		if n%10 == 9 {
			k.compare()
			t.Logf("%d leaders and %d operators killed so far", n+1, n+1)
		}
	}
	k.stop()
	for _, f := range []*harness.Flusher{k.with, k.without} {
		checkFlusher(t, f)
	}
	k.with.CheckNewestCheckpoint()
	counts := k.feed.CheckFinal(c, "counter", nil)
	d := c.MustDescribe("counter")
	t.Logf("counter: %d records, 0 lost, 0 double counted; %d attempts were started anew", harness.Sum(counts), d.Summary.Restarts)
	if d.Summary.Restarts < uint64(kills) {
		t.Errorf("%d operators were killed and %d attempts were started anew: some kill hit nobody", kills, d.Summary.Restarts)
	}
	c.VerifyReplicas()
	t.Logf("flushes in flight at each leader kill: %v", k.inFlight)
	t.Logf("%d leaders killed (%s), from the kill to the first new commit: %s", kills, c.Backend.Kind(), Distribution(k.leaderGaps))
	t.Logf("%d operators killed and not reported, to the first new processed record: %s", len(k.silentGaps), Distribution(k.silentGaps))
	t.Logf("%d operators killed and reported by a supervisor, to the first new processed record: %s", len(k.reportedGaps), Distribution(k.reportedGaps))
	t.Logf("%d operators killed, together: %s", kills, Distribution(append(k.silentGaps, k.reportedGaps...)))
}

type killing struct {
	t             *testing.T
	c             *harness.Cluster
	with, without *harness.Flusher
	feed          *harness.Feed
	stop          func()
	cfg           harness.OperatorConfig
	operators     []*harness.Operator // the one that works and its standby

	inFlight                             []uint64
	leaderGaps, silentGaps, reportedGaps []time.Duration
}

func newKills(t *testing.T, c *harness.Cluster) *killing {
	k := &killing{t: t, c: c, feed: harness.NewFeed(t, 1, 40)}
	k.with = harness.StartFlusher(c, harness.FlusherConfig{
		Job: "with-checkpoints", CheckpointMs: 100, Pause: slowTraffic, Addresses: func(int) []string { return leaderFirst(c) },
	})
	k.without = harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: slowTraffic})
	k.stop = k.feed.Flow(5, traffic)
	k.cfg = k.feed.Operator("counter")
	k.cfg.CheckpointMs, k.cfg.HeadFile = 100, true
	k.operators = []*harness.Operator{harness.StartOperator(t, k.cfg, c.Addresses())}
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	k.startStandby()
	return k
}

// slowTraffic keeps windows full and the log of a thousand seconds short.
const slowTraffic = 20 * time.Millisecond

func (k *killing) startStandby() {
	k.operators = append(k.operators, harness.StartOperator(k.t, k.cfg, k.c.Addresses()))
	waitStandby(k.c, "counter")
}

// leader kills the leader and starts it again once both flushers go on.
func (k *killing) leader(n int) {
	k.with.WaitAcked(20)
	k.without.WaitAcked(20)
	old := k.c.Leader()
	// In turn with everything sent and nothing answered, and with some of it
	// answered: then more of it is committed, and must not count again.
	switch n % 3 {
	case 0:
		k.with.WaitFull(0)
	case 1:
		k.with.WaitPartial(0)
	case 2:
		k.without.WaitPartial(0)
	}
	marks := []*harness.Mark{k.with.MarkNow(0), k.without.MarkNow(0)}
	k.c.Kill(old.Index)
	k.c.WaitForNewLeader(old)
	for _, m := range marks {
		k.leaderGaps = append(k.leaderGaps, m.Gap())
		k.inFlight = append(k.inFlight, m.InFlight)
	}
	// It catches up while the operator is killed.
	k.c.Start(old.Index)
}

// operator kills the one that works.
func (k *killing) operator(report bool) {
	c := k.c
	d := c.WaitJob("counter", "every subtask running", func(d *holdfastv1.JobDescription) error {
		if running(d) == nil || d.StandbySlots == 0 {
			return errorf("subtasks %v, %d standby slots", d.Subtasks, d.StandbySlots)
		}
		return nil
	})
	victim, standby := k.operators[0], k.operators[1]
	if running(d).ProcessId != victim.ID {
		victim, standby = standby, victim
	}
	before := victim.Head()
	harness.Until(k.t, "the operator to process records", func() error {
		if now := victim.Head(); now <= before {
			return errorf("processed up to offset %d; it logged: %s", now, victim.Log())
		}
		return nil
	})
	at := time.Now()
	victim.Kill()
	done := victim.Head()
	if report {
		reportExit(c, victim.ID)
	}
	harness.Until(k.t, "a new record to be processed", func() error {
		if now := standby.Head(); now <= done {
			return errorf("processed up to offset %d, %d was reached before the kill; it logged: %s", now, done, standby.Log())
		}
		return nil
	})
	gap := time.Since(at)
	if report {
		k.reportedGaps = append(k.reportedGaps, gap)
	} else {
		k.silentGaps = append(k.silentGaps, gap)
	}
	k.operators = []*harness.Operator{standby}
	k.startStandby()
	for _, i := range c.RunningNodes() {
		c.WaitCaughtUp(i)
	}
}

// reportExit says that a process is gone, as the supervisor that started it does.
func reportExit(c *harness.Cluster, process string) {
	_ = c.Anywhere("an answer to ReportProcessExit", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).ReportProcessExit(ctx, &holdfastv1.ReportProcessExitRequest{ProcessId: process})
		return err
	}) // without it the attempt waits longer, which is no fault
}

// compare looks at a checkpoint and the replicas in the midst of it all.
func (k *killing) compare() {
	k.feed.CheckCheckpoint(k.c, "counter", nil, k.c.ReadCheckpoint("counter", k.c.Completed("counter")))
	k.c.VerifyReplicas()
}
