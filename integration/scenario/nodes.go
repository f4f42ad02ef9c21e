package scenario

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FollowerKill kills the follower that hosts nothing: operators must see
// nothing of it.
func FollowerKill(t *testing.T, c *harness.Cluster) {
	host := c.Leader().Index
	onHost := func(int) []string { return c.Addresses(host) }
	with := harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic, Addresses: onHost})
	without := harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic, Addresses: onHost})
	for _, i := range c.Followers() {
		with.WaitAcked(20)
		without.WaitAcked(20)
		c.Kill(i)
		with.WaitAcked(100)
		without.WaitAcked(100)
		c.Start(i)
		c.WaitCaughtUp(i)
	}
	for _, f := range []*harness.Flusher{with, without} {
		checkFlusher(t, f)
		if n := f.Stats().Resumes; n != 0 {
			t.Errorf("%s resumed %d times although its host lived", f.Config.Job, n)
		}
	}
	c.VerifyReplicas()
}

// HostKill kills the node that operators are connected to, one after the other,
// with and without checkpoints: the streams resume elsewhere, nothing is lost
// and nothing is rolled back (the table "what a failure costs").
func HostKill(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 1, 40)
	stop := feed.Flow(20, traffic)
	flushers := map[string]*harness.Flusher{
		"with":    harness.StartFlusher(c, harness.FlusherConfig{Job: "flusher-with", CheckpointMs: 100, Pause: traffic}),
		"without": harness.StartFlusher(c, harness.FlusherConfig{Job: "flusher-without", Pause: traffic}),
	}
	jobs := []string{"counter-with", "counter-without"}
	for _, job := range jobs {
		cfg := feed.Operator(job)
		if job == "counter-with" {
			cfg.CheckpointMs = 100
		}
		harness.StartOperator(t, cfg, c.Addresses())
		c.WaitStatus(job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
		c.WaitCounted(job, 50)
	}
	attempts := map[string]uint64{}
	for _, job := range jobs {
		attempts[job] = c.MustDescribe(job).Subtasks[0].Attempt
	}
	for round := range 3 {
		victim := flushers["with"].HostIndex(0)
		if round > 0 {
			victim = c.NodeIndex(c.MustDescribe(jobs[round-1]).Subtasks[0].NodeId)
		}
		if victim < 0 {
			t.Fatal("an operator is on no node")
		}
		c.Kill(victim)
		for _, f := range flushers {
			f.WaitAcked(50)
		}
		for _, job := range jobs {
			c.WaitCounted(job, 200)
		}
		c.Start(victim)
		c.WaitCaughtUp(victim)
	}
	stop()
	for _, f := range flushers {
		checkFlusher(t, f)
		if f.Stats().Resumes == 0 {
			t.Errorf("%s never resumed", f.Config.Job)
		}
	}
	for _, job := range jobs {
		counts := feed.CheckFinal(c, job, nil)
		st := c.MustDescribe(job).Subtasks[0]
		t.Logf("%s: %d records counted exactly once, in the attempt it began with: %v", job, harness.Sum(counts), st.Attempt == attempts[job])
		if st.Attempt != attempts[job] || st.RestoredCheckpoint != 0 {
			t.Errorf("%s was rolled back: attempt %d from checkpoint %d, began as %d", job, st.Attempt, st.RestoredCheckpoint, attempts[job])
		}
	}
	c.VerifyReplicas()
}

// AllNodesRestart kills all nodes at once, again and again: jobs, checkpoints,
// history and state are there afterwards, and checkpoint ids go on rising.
func AllNodesRestart(t *testing.T, c *harness.Cluster, times int) {
	with := harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic})
	without := harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic})
	feed := harness.NewFeed(t, 1, 40)
	stop := feed.Flow(10, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 100
	harness.StartOperator(t, cfg, c.Addresses())
	newest := uint64(0)
	for range times {
		with.WaitAcked(50)
		without.WaitAcked(50)
		newest = c.WaitCheckpoint(with.JobID, newest).Id
		before := ids(c.Checkpoints(with.JobID))
		with.WaitFull(0)
		inFlight := with.Stats().InFlight() + without.Stats().InFlight()
		c.KillAll()
		c.StartAll()
		after := c.Checkpoints(with.JobID)
		// What is new may have pushed out what was oldest.
		oldest := slices.Min(slices.Collect(maps.Keys(ids(after))))
		for id, st := range before {
			got, there := ids(after)[id]
			decided := st != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING
			if id >= oldest && (!there || decided && got != st) {
				t.Errorf("checkpoint %d was %s and is %s (there: %v) after the restart", id, st, got, there)
			}
		}
		if k := harness.Completed(after); k.GetId() < newest {
			t.Errorf("the newest completed checkpoint was %d and is %d after the restart", newest, k.GetId())
		}
		next := c.WaitCheckpoint(with.JobID, newest).Id
		if next <= newest {
			t.Errorf("checkpoint ids must rise: %d after %d", next, newest)
		}
		t.Logf("all nodes killed with %d flushes in flight; the newest checkpoint was %d, next came %d", inFlight, newest, next)
		newest = next
	}
	stop()
	for _, f := range []*harness.Flusher{with, without} {
		checkFlusher(t, f)
	}
	with.CheckNewestCheckpoint()
	t.Logf("counter: %d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	c.VerifyReplicas()
}

func ids(r *holdfastv1.ListCheckpointsResponse) map[uint64]holdfastv1.CheckpointStatus {
	out := map[uint64]holdfastv1.CheckpointStatus{}
	for _, k := range r.Checkpoints {
		out[k.Id] = k.Status
	}
	return out
}

// MinorityLost loses the disks of a minority for ever: nothing else is lost.
func MinorityLost(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic})
	for range (c.Size() - 1) / 2 {
		f.WaitAcked(50)
		old := c.Leader()
		c.Kill(old.Index)
		if err := os.RemoveAll(old.DataDir); err != nil {
			t.Fatal(err)
		}
		c.WaitForNewLeader(old)
		f.WaitAcked(50)
	}
	c.WaitCheckpoint(f.JobID, c.WaitCheckpoint(f.JobID, 0).Id)
	another := harness.StartFlusher(c, harness.FlusherConfig{Job: "another"})
	another.WaitAcked(50)
	checkFlusher(t, another)
	checkFlusher(t, f)
	f.CheckNewestCheckpoint()
	c.VerifyReplicas()
}
