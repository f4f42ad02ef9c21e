package scenario

import (
	"fmt"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// ManualTrigger begins checkpoints by hand: the operation ends with its
// checkpoint, and the same request id gives the same answer.
func ManualTrigger(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "manual", CheckpointMs: 3_600_000, Pause: traffic})
	f.WaitAcked(20)
	for range 3 {
		request := harness.RandomName("trigger")
		first, err := c.Trigger(f.JobID, request)
		if err != nil {
			t.Fatal(err)
		}
		var op *holdfastv1.GetOperationResponse
		harness.Until(t, "the operation to end", func() error {
			if op, err = c.Operation(first.OperationId); err == nil && op.Status == holdfastv1.OperationStatus_OPERATION_STATUS_IN_PROGRESS {
				err = errorf("it is %s", op.Status)
			}
			return err
		})
		k := op.Checkpoint
		if op.Status != holdfastv1.OperationStatus_OPERATION_STATUS_COMPLETED || k.GetId() != first.CheckpointId ||
			k.GetTrigger() != holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_MANUAL || len(k.GetAcks()) != 1 {
			t.Errorf("triggered checkpoint %d and got the operation %v", first.CheckpointId, op)
		}
		f.CheckCheckpoint(k)
		again, err := c.Trigger(f.JobID, request)
		if err != nil || again.OperationId != first.OperationId || again.CheckpointId != first.CheckpointId {
			t.Errorf("the same request again: %v, %v; first it was %v", again, err, first)
		}
	}
	if n := c.MustDescribe(f.JobID).CheckpointCounts.GetTriggered(); n != 3 {
		t.Errorf("%d checkpoints were triggered, want 3", n)
	}
	checkFlusher(t, f)
}

// CheckpointTimeout has an operator that never answers a barrier: its
// checkpoints are aborted, it goes on, and a second trigger meanwhile is
// refused.
func CheckpointTimeout(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "dumb", CheckpointMs: 3_600_000, TimeoutMs: 300, Dumb: true, Pause: traffic})
	f.WaitAcked(20)
	first, err := c.Trigger(f.JobID, "one")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Trigger(f.JobID, "two")
	expectFailure(t, "a trigger while a checkpoint is pending", err, failure{reason: "CHECKPOINT_PENDING", outcome: "not_applied"})
	var op *holdfastv1.GetOperationResponse
	harness.Until(t, "the checkpoint to expire", func() error {
		if op, err = c.Operation(first.OperationId); err == nil && op.Status != holdfastv1.OperationStatus_OPERATION_STATUS_FAILED {
			err = errorf("the operation is %s", op.Status)
		}
		return err
	})
	if op.Checkpoint.GetStatus() != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED || op.Checkpoint.GetReason() == nil {
		t.Errorf("the expired checkpoint is %v", op.Checkpoint)
	}
	second, err := c.Trigger(f.JobID, "three")
	if err != nil || second.CheckpointId <= first.CheckpointId {
		t.Errorf("after checkpoint %d expired a trigger answers %v, %v", first.CheckpointId, second, err)
	}
	f.WaitAcked(20)
	checkFlusher(t, f)
	if st := c.MustDescribe(f.JobID).Summary.Status; st != holdfastv1.JobStatus_JOB_STATUS_RUNNING {
		t.Errorf("a job whose checkpoint expired is %s", st)
	}
}

// OffsetGone takes away the records that a restored attempt must go on from:
// the job is SUSPENDED with the gap named, a plain resume ends there again, and
// one that accepts the gap goes on behind it (invariant 11).
func OffsetGone(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 1, 10)
	feed.Produce(300)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 50
	o := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	var k harness.PositionedCheckpoint
	for k.Positions[0] < 300 {
		k = c.ReadCheckpoint("counter", k.ID)
	}
	o.Kill()
	feed.Produce(200)
	feed.DropBefore(0, 400)
	harness.StartOperator(t, cfg, c.Addresses())
	suspended := func() {
		t.Helper()
		d := c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
		m := d.Reason.GetMetadata()
		if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE ||
			m["topic"] != "feed" || m["partition"] != "0" || m["offset"] != "300" || m["first_offset"] != "400" {
			t.Fatalf("the job is suspended for %v", d.Reason)
		}
	}
	suspended()
	if err := c.ResumeJob("counter", false); err != nil {
		t.Fatal(err)
	}
	suspended()
	if err := c.ResumeJob("counter", true); err != nil {
		t.Fatal(err)
	}
	want := harness.RecordCounts(feed.Seed, nil, map[uint32]int64{0: 300}, feed.Keys)
	for key, n := range harness.RecordCounts(feed.Seed, map[uint32]int64{0: 400}, map[uint32]int64{0: 500}, feed.Keys) {
		want[key] += n
	}
	ref := harness.StateRef{Job: "counter", Operator: harness.OperatorUID, State: harness.OperatorState}
	harness.Until(t, "the records behind the gap to be counted", func() error {
		if d := harness.Difference(c.Counts(ref), want); d != "" {
			return errorf("%s", d)
		}
		return nil
	})
	t.Log("300 records before the gap of 100 and 100 behind it were counted exactly once")
}

// SourceMissing reads what does not exist: the job FAILED and says so.
func SourceMissing(t *testing.T, c *harness.Cluster) {
	cfg := harness.NewFeed(t, 1, 10).Operator("counter")
	cfg.NoSource = true
	o := harness.StartOperator(t, cfg, c.Addresses())
	d := c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_FAILED)
	if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND {
		t.Errorf("the job failed with %v", d.Reason)
	}
	if code := o.WaitExit(t); code == 0 {
		t.Error("the operator of a failed job must exit with an error")
	}
}
