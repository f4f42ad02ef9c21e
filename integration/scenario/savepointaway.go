package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// SavepointMovedAway takes a savepoint while checkpoints run, and one where there is no
// other checkpoint, moves it away, and kills the operator: the next attempt begins from
// a checkpoint, in the second case from that of the same cut, and every record counts
// once. The job never misses what is the user's (invariant 10).
func SavepointMovedAway(t *testing.T, c *harness.Cluster, backend string) {
	for _, x := range []struct {
		name       string
		intervalMs int64
	}{{"running", 100}, {"alone", 3_600_000}} {
		feed := harness.NewFeed(t, 1, 100)
		stop := feed.Flow(10, 2*traffic)
		cfg := feed.Operator("moved-" + x.name + "-" + backend)
		cfg.CheckpointMs, cfg.StateBackend, cfg.Directory, cfg.InlineBytes = x.intervalMs, backend, c.CheckpointDir("moved"), 1
		first := harness.StartOperator(t, cfg, c.Addresses())
		c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
		c.WaitCounted(cfg.Job, 200)
		var written struct {
			CheckpointID uint64 `json:"checkpoint_id"`
			Path         string `json:"path"`
		}
		c.CommandLine().JSON(&written, "savepoint", cfg.Job, c.CheckpointDir("savepoints"))
		away := c.Move(written.Path, c.CheckpointDir(harness.RandomName("away")))
		c.WaitCounted(cfg.Job, 100) // behind the cut, to be taken back
		harness.StartOperator(t, cfg, c.Addresses())
		waitStandby(c, cfg.Job)
		before := c.MustDescribe(cfg.Job).Subtasks[0].Attempt
		first.Kill()
		waitAttempt(c, cfg.Job, before)
		st := c.MustDescribe(cfg.Job).Subtasks[0]
		if st.RestoredCheckpoint < written.CheckpointID || x.name == "alone" && st.RestoredCheckpoint != written.CheckpointID {
			t.Errorf("%s: attempt %d began from checkpoint %d; the savepoint is of %d", cfg.Job, st.Attempt, st.RestoredCheckpoint, written.CheckpointID)
		}
		stop()
		n := harness.Sum(feed.CheckFinal(c, cfg.Job, nil))
		verifyClean(t, c, away)
		t.Logf("%s: savepoint of checkpoint %d moved away, operator killed, restored from %d: %d records counted exactly once", cfg.Job, written.CheckpointID, st.RestoredCheckpoint, n)
		if err := c.Cancel(cfg.Job); err != nil {
			t.Error(err)
		}
	}
}

// EndedNames starts the program of a job that was cancelled, has failed or has finished
// once more, as a supervisor does: it is told JOB_TERMINATED, and nothing begins.
func EndedNames(t *testing.T, c *harness.Cluster, backend string) {
	poison := filepath.Join(t.TempDir(), "poison")
	if err := os.WriteFile(poison, []byte("1000"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		status holdfastv1.JobStatus
		tune   func(*harness.OperatorConfig)
	}{
		"cancelled": {holdfastv1.JobStatus_JOB_STATUS_CANCELED, func(*harness.OperatorConfig) {}},
		"failed":    {holdfastv1.JobStatus_JOB_STATUS_FAILED, func(cfg *harness.OperatorConfig) { cfg.Restart, cfg.FailFile, cfg.FailAt = "none", poison, 400 }},
		"finished":  {holdfastv1.JobStatus_JOB_STATUS_FINISHED, func(cfg *harness.OperatorConfig) { cfg.Limit = 500 }},
	} {
		feed := harness.NewFeed(t, 1, 100)
		feed.Produce(500)
		cfg := feed.Operator("ended-" + name)
		cfg.CheckpointMs, cfg.StateBackend, cfg.Directory = 100, backend, c.CheckpointDir("ended")
		x.tune(&cfg)
		first := harness.StartOperator(t, cfg, c.Addresses())
		if name == "cancelled" {
			c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
			c.WaitCounted(cfg.Job, 0)
			c.CommandLine().Must("cancel", cfg.Job)
		}
		c.WaitStatus(cfg.Job, x.status)
		first.WaitExit(t)
		was := c.MustDescribe(cfg.Job).Summary
		again := harness.StartOperator(t, cfg, c.Addresses())
		code := again.WaitExit(t)
		if log := again.Log(); code == 0 || !strings.Contains(log, "JOB_TERMINATED") {
			t.Errorf("%s: the program ended with %d:\n%s\nwant JOB_TERMINATED", cfg.Job, code, log)
		}
		now := c.MustDescribe(cfg.Job).Summary
		if now.JobId != was.JobId || now.Status != x.status {
			t.Errorf("%s: it was %v and is %v", cfg.Job, was, now)
		}
		t.Logf("%s is %s; started again: exit code %d, JOB_TERMINATED", cfg.Job, now.Status, code)
	}
}
