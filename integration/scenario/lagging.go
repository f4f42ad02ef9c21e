package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// LaggingNode keeps a node down until the others have forgotten the log that it
// lacks: it gets a snapshot, is equal to them afterwards, and serves reads and
// operators. The cluster must take snapshots early and keep few entries.
func LaggingNode(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 50, Retained: 3, Pause: traffic})
	f.WaitAcked(50)
	late := c.Followers()[0]
	c.Kill(late)
	f.WaitAcked(1000)
	k := c.WaitCheckpoint(f.JobID, 0)
	c.Start(late)
	c.WaitCaughtUp(late)
	restored := uint64(0)
	for _, h := range c.VerifyReplicas() {
		if h.Name == c.Node(late).Name {
			restored = h.RestoredSnapshotIndex
		}
	}
	if restored == 0 {
		t.Error("the node that was late replayed its log; the scenario wants a snapshot of another one")
	}
	// The others go away in turn, so that what it holds must be complete.
	for _, i := range c.RunningNodes() {
		if i == late {
			continue
		}
		c.Kill(i)
		f.WaitAcked(50)
		c.Start(i)
		c.WaitCaughtUp(i)
	}
	c.WaitCheckpoint(f.JobID, k.Id)
	checkFlusher(t, f)
	f.CheckNewestCheckpoint()
	c.VerifyReplicas()
	t.Logf("loaded a snapshot of index %d and went on", restored)
}
