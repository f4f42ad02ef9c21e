package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Hosted is where the state of a scenario on hosts is, and how its checkpoints go.
type Hosted struct {
	Backend     string
	Incremental bool
}

// HostedKills kills operators, the nodes that have their state, and leaders, in
// turn, under traffic, of a job whose state is on its hosts: after each the job goes on
// from its newest checkpoint, and every record is counted exactly once (invariants 1
// to 4, 10 and 12).
func HostedKills(t *testing.T, c *harness.Cluster, h Hosted, rounds int) {
	feed := harness.NewFeed(t, 1, 200)
	stop := feed.Flow(20, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs, cfg.StateBackend, cfg.Incremental = 100, h.Backend, h.Incremental
	cfg.Directory = c.CheckpointDir("counter")
	running := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	for n := range 3 * rounds {
		id := c.Completed("counter")
		c.ReadCheckpoint("counter", id)
		before := c.MustDescribe("counter").Subtasks[0]
		switch n % 3 {
		case 0:
			standby := harness.StartOperator(t, cfg, c.Addresses())
			waitStandby(c, "counter")
			running.Kill()
			running = standby
		case 1:
			host := c.NodeIndex(before.NodeId)
			c.Kill(host)
			waitAttempt(c, "counter", before.Attempt)
			c.Start(host)
			c.WaitCaughtUp(host)
		case 2:
			old := c.Leader()
			c.Kill(old.Index)
			c.WaitForNewLeader(old)
			c.Start(old.Index)
			c.WaitCaughtUp(old.Index)
		}
		if n%3 == 0 {
			waitAttempt(c, "counter", before.Attempt)
		}
		k := c.ReadCheckpoint("counter", c.Completed("counter"))
		feed.CheckCheckpoint(c, "counter", nil, k)
		st := c.MustDescribe("counter").Subtasks[0]
		t.Logf("round %d: attempt %d after %d, from checkpoint %d; checkpoint %d is right", n, st.Attempt, before.Attempt, st.RestoredCheckpoint, k.ID)
		if st.Attempt != before.Attempt && st.RestoredCheckpoint == 0 {
			t.Errorf("attempt %d began from empty although checkpoint %d was completed", st.Attempt, id)
		}
	}
	stop()
	t.Logf("%d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	c.VerifyReplicas()
}

// HostedWithoutCheckpoints shows that state on a host belongs to the subtask. A new operator
// process goes on with it, wherever it connects first; the death of the host suspends
// the job with STATE_LOST, and with --accept-gap it goes on from empty, elsewhere.
func HostedWithoutCheckpoints(t *testing.T, c *harness.Cluster, h Hosted, kills int) {
	operatorKillWithoutCheckpoints(t, c, kills, h.Backend)
	feed := harness.NewFeed(t, 1, 20)
	stop := feed.Flow(5, traffic)
	defer stop()
	cfg := feed.Operator("lost")
	cfg.StateBackend = h.Backend
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("lost", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCounted("lost", 50)
	host := c.NodeIndex(c.MustDescribe("lost").Subtasks[0].NodeId)
	c.Kill(host)
	d := c.WaitStatus("lost", holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST {
		t.Fatalf("the job is suspended with %v, want STATE_LOST", d.Reason)
	}
	t.Logf("%s killed: %s", c.Node(host).Name, d.Reason.Message)
	c.Start(host)
	c.WaitCaughtUp(host)
	c.VerifyReplicas()
}
