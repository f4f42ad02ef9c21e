package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Kinds kills operator processes of a job that has a state of every kind, with a TTL
// and without, some of which it never reads: each checkpoint, and the state in the end,
// is what the records up to its positions leave (invariants 2, 3 and 10).
func Kinds(t *testing.T, c *harness.Cluster, h Hosted, kills int) {
	feed := harness.NewFeed(t, 1, 40)
	stop := feed.Flow(20, traffic)
	cfg := feed.Operator("kinds")
	cfg.CheckpointMs, cfg.Kinds = 3_600_000, true
	if h.Backend != "" {
		cfg.StateBackend, cfg.Incremental, cfg.Directory = h.Backend, h.Incremental, c.CheckpointDir("kinds")
	}
	running := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("kinds", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	check := func(after uint64) harness.PositionedCheckpoint {
		t.Helper()
		k := c.ReadCheckpoint("kinds", after)
		feed.CheckCheckpoint(c, "kinds", nil, k)
		if err := feed.CheckKinds(c, "kinds", k.ID, k.Positions); err != nil {
			t.Fatal(err)
		}
		return k
	}
	for range kills {
		standby := harness.StartOperator(t, cfg, c.Addresses())
		waitStandby(c, "kinds")
		k := check(mustTrigger(t, c, "kinds") - 1)
		c.WaitCounted("kinds", 1) // behind the cut, to be taken back
		before := c.MustDescribe("kinds").Subtasks[0].Attempt
		running.Kill()
		running = standby
		waitAttempt(c, "kinds", before)
		mustTrigger(t, c, "kinds")
		check(k.ID)
	}
	stop()
	t.Logf("%d records, each of them in six states", harness.Sum(feed.CheckFinal(c, "kinds", nil)))
	harness.Until(t, "every state to have the whole feed", func() error {
		return feed.CheckKinds(c, "kinds", 0, feed.Heads())
	})
	c.VerifyReplicas()
}
