package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Outage is a checkpoint storage that stops taking files.
type Outage struct {
	Directory string
	Begin     func()
	End       func()
	// Reason is why a checkpoint fails, by default STORAGE_UNAVAILABLE, and Says what
	// it contains.
	Reason holdfastv1.ErrorReason
	Says   string
	// TimeoutMs is that of checkpoints; 0: what users get.
	TimeoutMs int64
}

func (o Outage) reason() holdfastv1.ErrorReason {
	if o.Reason == 0 {
		return holdfastv1.ErrorReason_ERROR_REASON_STORAGE_UNAVAILABLE
	}
	return o.Reason
}

// StorageOutage lets the storage of a running job be away: checkpoints are aborted
// with the reason, the attempt goes on and counts, and once the storage is back the
// next checkpoint has every record once (invariants 2 and 10).
func StorageOutage(t *testing.T, c *harness.Cluster, backend string, o Outage) {
	feed := harness.NewFeed(t, 1, 100)
	stop := feed.Flow(10, 2*traffic)
	cfg := feed.Operator("outage-" + backend)
	cfg.CheckpointMs, cfg.StateBackend, cfg.Directory, cfg.Incremental, cfg.InlineBytes, cfg.Tolerable = 100, backend, o.Directory, true, 1, 1000
	cfg.TimeoutMs = o.TimeoutMs
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitExported(cfg.Job, c.WaitCheckpoint(cfg.Job, 2).Id)
	before := c.MustDescribe(cfg.Job).Subtasks[0].Attempt

	o.Begin()
	at := time.Now()
	last := c.Completed(cfg.Job)
	var aborted *holdfastv1.Checkpoint
	harness.Until(t, "a checkpoint that failed", func() error {
		for _, k := range c.Checkpoints(cfg.Job).Checkpoints {
			if k.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED && k.Id > last {
				aborted = k
			}
		}
		if aborted == nil {
			return errorf("the newest completed one is %d, %d when it began", c.Completed(cfg.Job), last)
		}
		return nil
	})
	if r := aborted.Reason; r.GetReason() != o.reason() || !strings.Contains(r.GetMessage(), o.Says) {
		t.Errorf("checkpoint %d is aborted with %v\nwant %s with %q", aborted.Id, r, o.reason(), o.Says)
	}
	<-time.After(harness.Outage() - time.Since(at))
	c.WaitCounted(cfg.Job, 100)
	away := c.Completed(cfg.Job)
	o.End()

	k := c.ReadCheckpoint(cfg.Job, away)
	feed.CheckCheckpoint(c, cfg.Job, nil, k)
	stop()
	n := harness.Sum(feed.CheckFinal(c, cfg.Job, nil))
	verifyClean(t, c, c.WaitExported(cfg.Job, k.ID).ExternalPath)
	d := c.MustDescribe(cfg.Job)
	if st := d.Subtasks[0]; st.Attempt != before || d.Summary.Restarts != 0 {
		t.Errorf("attempt %d ran before and %d after it, %d restarts; an outage of the storage must end none", before, st.Attempt, d.Summary.Restarts)
	}
	t.Logf("%s: away for %s; checkpoint %d aborted: %s; checkpoint %d is right, %d records counted exactly once",
		backend, time.Since(at).Round(time.Second), aborted.Id, aborted.Reason.GetMessage(), k.ID, n)
	if err := c.Cancel(cfg.Job); err != nil {
		t.Errorf("cancel %s: %v", cfg.Job, err)
	}
}
