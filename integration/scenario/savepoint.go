package scenario

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// SavepointsWait asks for savepoints of a job whose checkpoints follow each other
// closely: each begins when the pending one is decided, and the same request again is
// the same savepoint. One whose checkpoint expires fails, and so does a stop, and
// the job goes on.
func SavepointsWait(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 100, Pause: traffic})
	c.WaitCheckpoint(f.JobID, 1)
	for i := range c.Size() {
		savepointOnce(t, c, i, harness.RandomName("savepoint"))
	}
	deaf := harness.StartFlusher(c, harness.FlusherConfig{Job: "deaf", CheckpointMs: 20, TimeoutMs: 1000, Dumb: true})
	c.WaitStatus(deaf.JobID, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	var stop *holdfastv1.StopResponse
	if err := c.OnWithin(0, harness.Patience(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		stop, err = holdfastv1.NewJobServiceClient(conn).Stop(ctx, &holdfastv1.StopRequest{Job: "deaf", Directory: c.CheckpointDir("savepoints") + "/"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the stop to fail", func() error {
		r, err := c.Operation(stop.OperationId)
		if err != nil {
			return err
		}
		if r.Status != holdfastv1.OperationStatus_OPERATION_STATUS_FAILED || r.Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT {
			return errorf("the operation is %v", r)
		}
		return nil
	})
	// It begins checkpoints again, as a job that is not being stopped.
	harness.Until(t, "another checkpoint", func() error {
		k := c.Checkpoints(deaf.JobID)
		if k.Checkpoints[0].Id <= stop.CheckpointId {
			return errorf("the newest is %d", k.Checkpoints[0].Id)
		}
		return nil
	})
}

// savepointOnce asks one node twice for the same savepoint.
func savepointOnce(t *testing.T, c *harness.Cluster, node int, request string) {
	t.Helper()
	err := c.OnWithin(node, harness.Patience(), func(ctx context.Context, conn *grpc.ClientConn) error {
		j := holdfastv1.NewJobServiceClient(conn)
		var begun [2]*holdfastv1.TriggerSavepointResponse
		for i := range begun {
			var err error
			if begun[i], err = j.TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: "busy", RequestId: request, Directory: c.CheckpointDir("savepoints") + "/"}); err != nil {
				return err
			}
		}
		if begun[0].OperationId != begun[1].OperationId {
			return errorf("the same request began %v and %v", begun[0], begun[1])
		}
		r, err := j.GetOperation(ctx, &holdfastv1.GetOperationRequest{OperationId: begun[0].OperationId})
		if err != nil {
			return err
		}
		if k := r.Checkpoint; k.Kind != holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT || k.SavepointDirectory != c.CheckpointDir("savepoints") {
			return errorf("the operation is %v", r)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("savepoint through %s: %v", c.Node(node).Name, err)
	}
}
