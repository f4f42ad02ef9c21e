package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// WaitingBesideResume has one subtask without a process while the host of the
// other one is killed, again and again: the stream that resumes elsewhere is no
// standby meanwhile, so it keeps its own subtask and gets no second one.
func WaitingBesideResume(t *testing.T, c *harness.Cluster, rounds int) {
	feed := harness.NewFeed(t, 2, 20)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs, cfg.Parallelism, cfg.Slots = 50, 2, 1
	harness.StartOperator(t, cfg, c.Addresses())
	other := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	for range rounds {
		c.WaitCheckpoint("counter", c.Completed("counter"))
		other.Kill()
		d := c.WaitJob("counter", "a subtask without a process", func(d *holdfastv1.JobDescription) error {
			if waiting(d) == nil {
				return errorf("none waits")
			}
			return nil
		})
		lone := running(d)
		if lone == nil {
			t.Fatalf("no subtask runs beside the one that waits: %v", d.Subtasks)
		}
		victim := c.NodeIndex(lone.NodeId)
		c.Kill(victim)
		d = c.WaitJob("counter", "the other subtask on another node", func(d *holdfastv1.JobDescription) error {
			for _, st := range d.Subtasks {
				if st.Index == lone.Index && (st.FencingToken == lone.FencingToken || st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING) {
					return errorf("token %d, %s", st.FencingToken, st.Status)
				}
			}
			return nil
		})
		if st := running(d); st == nil || st.Index != lone.Index || st.Attempt != lone.Attempt {
			t.Errorf("subtask %d had attempt %d before its host was killed, now: %v", lone.Index, lone.Attempt, d.Subtasks)
		}
		if waiting(d) == nil {
			t.Errorf("one slot has two subtasks: %v", d.Subtasks)
		}
		c.Start(victim)
		other = harness.StartOperator(t, cfg, c.Addresses())
		c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	}
	c.WaitCheckpoint("counter", c.Completed("counter"))
	feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", 0))
	stop()
	t.Logf("%d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
}

func waiting(d *holdfastv1.JobDescription) *holdfastv1.SubtaskDescription {
	return withStatus(d, holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING)
}

func running(d *holdfastv1.JobDescription) *holdfastv1.SubtaskDescription {
	return withStatus(d, holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING)
}

func withStatus(d *holdfastv1.JobDescription, s holdfastv1.SubtaskStatus) *holdfastv1.SubtaskDescription {
	for _, st := range d.Subtasks {
		if st.Status == s {
			return st
		}
	}
	return nil
}
