package scenario

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ClockJumps lets the wall clocks of the nodes be hours apart and jump forwards
// and backwards, at each start of a node and while it runs, with checkpoints,
// backoff and session timeouts under way: none of them notices.
func ClockJumps(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 100, Pause: slowTraffic})
	feed := harness.NewFeed(t, 1, 20)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 100
	working := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	failing := harness.NewFeed(t, 1, 10)
	failing.Produce(500)
	bad := failing.Operator("failing")
	const failures = 4
	bad.CheckpointMs, bad.Restart = 50, "fixed-delay:4:100"
	bad.FailAt, bad.FailFile = 300, filepath.Join(t.TempDir(), "failures")
	writeNumber(t, bad.FailFile, failures)
	harness.StartOperator(t, bad, c.Addresses())
	for range 2 * c.Size() {
		attempt := c.MustDescribe("counter").Subtasks[0].Attempt
		standby := harness.StartOperator(t, cfg, c.Addresses())
		waitStandby(c, "counter")
		old := c.Leader()
		c.Restart(old.Index)
		c.WaitForNewLeader(old)
		working.Kill()
		waitAttempt(c, "counter", attempt)
		working = standby
		f.WaitAcked(50)
		k := c.WaitCheckpoint(f.JobID, c.Completed(f.JobID))
		feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", c.Completed("counter")))
		t.Logf("checkpoint %d at %d ms since 1970, by the leader's clock", k.Id, k.TriggeredMs)
	}
	stop()
	checkFlusher(t, f)
	t.Logf("counter: %d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	failing.CheckFinal(c, "failing", nil)
	if n := c.MustDescribe("failing").Summary.Restarts; n < failures {
		t.Errorf("%d restarts after %d failures", n, failures)
	}
	c.VerifyReplicas()
}
