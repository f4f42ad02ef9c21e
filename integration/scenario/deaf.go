package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// DeafHost cuts a follower off from what the others send, with operators on it.
// What the deaf node still knows misleads nobody, and its operators go on
// elsewhere, in the attempts that they have: the node sends them away before
// the leader gives their subtasks to others.
func DeafHost(t *testing.T, c *harness.Cluster) {
	deaf := c.Followers()[0]
	there := func(int) []string { return c.Addresses(deaf) }
	on := harness.StartFlusher(c, harness.FlusherConfig{Job: "on-the-deaf-node", CheckpointMs: 100, Pause: traffic, Addresses: there})
	away := harness.StartFlusher(c, harness.FlusherConfig{Job: "away", Pause: traffic, Addresses: func(int) []string { return leaderFirst(c) }})
	feed := harness.NewFeed(t, 1, 20)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 100
	harness.StartOperator(t, cfg, c.Addresses(deaf))
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCounted("counter", 50)
	on.WaitAcked(20)
	away.WaitAcked(20)
	before := c.Leader()
	attempt := c.MustDescribe("counter").Subtasks[0].Attempt
	c.Deafen(deaf)
	away.WaitAcked(100)
	// Operators on the deaf node hear heartbeats and nothing else.
	on.WaitAcked(100)
	k := c.WaitCheckpoint("counter", c.Completed("counter")+1)
	t.Logf("operators of the deaf node went on elsewhere, checkpoint %d of counter", k.Id)
	now := c.Leader()
	t.Logf("%s led in term %d, now %s leads in term %d", before.Name, before.Term, now.Name, now.Term)
	c.Hear(deaf)
	c.WaitCaughtUp(deaf)
	away.WaitAcked(20)
	stop()
	checkFlusher(t, on)
	checkFlusher(t, away)
	t.Logf("%d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	if again := c.MustDescribe("counter").Subtasks[0].Attempt; again != attempt {
		t.Errorf("the operator had attempt %d and has %d now, although it was alive all the time", attempt, again)
	}
	c.VerifyReplicas()
}
