package scenario

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// RestoreFromSnapshot saves the state of a cluster under load, lets it go on,
// destroys all nodes with their disks, and makes a new cluster of the file. The
// operator of the lost cluster lives on and finds the new one: it may not go on
// where it was (invariants 1 and 3), and every record is counted once, because
// the source is read again from the positions of the checkpoint (invariant 10).
func RestoreFromSnapshot(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 2, 40)
	stop := feed.Flow(20, traffic)
	with := feed.Operator("with")
	with.CheckpointMs = 50
	survivor := harness.StartOperator(t, with, c.Addresses())
	without := harness.StartFlusher(c, harness.FlusherConfig{Job: "without", Pause: traffic})
	without.WaitAcked(50)
	without.Close()
	c.WaitCounted("with", 100)
	c.WaitCheckpoint("with", 0)

	file := saveSnapshot(t, c, c.Followers()[0])
	info, err := raftstore.InspectSnapshot(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	saved := jobIn(t, info, "with")
	kept := harness.StateRef{Job: "without", Operator: harness.FlusherOperator, State: harness.FlusherState}
	sums := c.Counts(kept)
	// The lost cluster goes on: more is counted and acknowledged, which the file
	// does not have.
	c.WaitCounted("with", 100)
	before := c.WaitCheckpoint("with", saved.Summary.LatestCompletedCheckpoint)
	token := c.MustDescribe("with").Subtasks[0].FencingToken

	c.KillAll()
	for i := range c.Size() {
		if err := os.RemoveAll(c.Node(i).DataDir); err != nil {
			t.Fatal(err)
		}
		if _, err := raftstore.Refound(bytes.NewReader(file), c.Node(i).DataDir); err != nil {
			t.Fatal(err)
		}
	}
	c.StartAll()
	d := c.WaitStatus("with", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if st := d.Subtasks[0]; st.FencingToken <= token || st.RestoredCheckpoint != saved.Summary.LatestCompletedCheckpoint {
		t.Errorf("token %d after %d of the lost cluster; restored checkpoint %d, in the file it is %d",
			st.FencingToken, token, st.RestoredCheckpoint, saved.Summary.LatestCompletedCheckpoint)
	}
	if k := c.WaitCheckpoint("with", before.Id); k.Id <= before.Id {
		t.Errorf("checkpoint %d after %d of the lost cluster", k.Id, before.Id)
	}
	feed.CheckCheckpoint(c, "with", nil, c.ReadCheckpoint("with", 0))
	stop()
	t.Logf("%d records counted exactly once; the operator that lived (pid %d) read again from checkpoint %d",
		harness.Sum(feed.CheckFinal(c, "with", nil)), survivor.Pid(), saved.Summary.LatestCompletedCheckpoint)
	if d := harness.Difference(c.Counts(kept), sums); d != "" {
		t.Errorf("the state of the job without checkpoints: %s", d)
	}
	c.VerifyReplicas()
}

// saveSnapshot gets the file of one node.
func saveSnapshot(t *testing.T, c *harness.Cluster, i int) []byte {
	t.Helper()
	var file []byte
	harness.Until(t, "a snapshot", func() error {
		file = nil
		return c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
			stream, err := holdfastv1.NewClusterServiceClient(conn).SaveSnapshot(ctx, &holdfastv1.SaveSnapshotRequest{})
			if err != nil {
				return err
			}
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				file = append(file, m.Data...)
			}
		})
	})
	return file
}

func jobIn(t *testing.T, info raftstore.SnapshotInfo, name string) raftstore.SnapshotJob {
	t.Helper()
	for _, j := range info.Jobs {
		if j.Summary.Name == name {
			return j
		}
	}
	t.Fatalf("the snapshot has no job %q: %v", name, info.Jobs)
	return raftstore.SnapshotJob{}
}
