package scenario

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CheckpointStatistics compares what checkpoints tell of themselves with what can
// be read and counted: bytes with the state of the checkpoint, times with one
// another, the summary with the counts; every node tells the same.
func CheckpointStatistics(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 2, 20)
	stop := feed.Flow(10, traffic)
	cfg := feed.Operator("measured")
	cfg.CheckpointMs, cfg.Parallelism, cfg.Slots = 3_600_000, 2, 2
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("measured", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCounted("measured", 200)
	var k *holdfastv1.Checkpoint
	for range 3 {
		k = c.WaitCheckpoint("measured", mustTrigger(t, c, "measured")-1)
	}
	stop()
	seen := map[uint32]bool{}
	state := uint64(0)
	for _, a := range k.Acks {
		seen[a.SubtaskIndex] = true
		state += a.StateBytes
		checkTimes(t, k, a)
	}
	if len(seen) != 2 || k.Subtasks != 2 {
		t.Errorf("checkpoint %d has the acks of subtasks %v of %d, want both of 2", k.Id, seen, k.Subtasks)
	}
	ref := harness.StateRef{Job: "measured", Operator: harness.OperatorUID, State: harness.OperatorState, Checkpoint: k.Id}
	if want := sizeOf(c.State(ref)); state != want {
		t.Errorf("checkpoint %d tells of %d bytes of state, and has %d", k.Id, state, want)
	}
	for i := range c.Size() {
		describeOn(t, c, i, k)
	}
	r := c.Checkpoints("measured")
	checkSummary(t, r)
	if flushed := r.Summary.GetFlushedBytes().GetSum(); flushed < state {
		t.Errorf("%d bytes were flushed for all checkpoints, and the state has %d", flushed, state)
	}
}

func sizeOf(state map[string][]byte) (n uint64) {
	for k, v := range state {
		n += uint64(len(k) + len(v))
	}
	return n
}

// checkTimes: the parts are there, and together no longer than the whole, whose
// ends are whole milliseconds. All nodes have the clock of this machine.
func checkTimes(t *testing.T, k *holdfastv1.Checkpoint, a *holdfastv1.SubtaskAck) {
	t.Helper()
	x := a.Times
	if x == nil || x.SyncUs == nil || x.AsyncUs == nil {
		t.Errorf("subtask %d of checkpoint %d has no times: %v", a.SubtaskIndex, k.Id, a)
		return
	}
	parts, whole := x.StartDelayUs+x.GetSyncUs()+x.GetAsyncUs(), uint64(a.AckedMs-k.TriggeredMs+1)*1000
	if parts > whole {
		t.Errorf("subtask %d of checkpoint %d: the parts take %d us, the whole less than %d us", a.SubtaskIndex, k.Id, parts, whole)
	}
}

func describeOn(t *testing.T, c *harness.Cluster, i int, k *holdfastv1.Checkpoint) {
	t.Helper()
	err := c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
		j := holdfastv1.NewJobServiceClient(conn)
		d, err := j.DescribeCheckpoint(ctx, &holdfastv1.DescribeCheckpointRequest{Job: "measured", CheckpointId: k.Id})
		if err != nil || len(d.Missing) != 0 || !sameAcks(d.Checkpoint, k) {
			t.Errorf("checkpoint %d on %s: %v, %v; want %v", k.Id, c.Node(i).Name, d, err, k)
		}
		_, err = j.DescribeCheckpoint(ctx, &holdfastv1.DescribeCheckpointRequest{Job: "measured", CheckpointId: 1 << 40})
		expectFailure(t, "a checkpoint that never was, on "+c.Node(i).Name, err, failure{reason: "CHECKPOINT_NOT_FOUND", outcome: "final"})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func sameAcks(a, b *holdfastv1.Checkpoint) bool {
	if a.GetId() != b.GetId() || len(a.GetAcks()) != len(b.GetAcks()) {
		return false
	}
	for i := range a.Acks {
		if !proto.Equal(a.Acks[i], b.Acks[i]) {
			return false
		}
	}
	return true
}

// checkSummary: it is over the completed ones, and no remembered one lies outside.
func checkSummary(t *testing.T, r *holdfastv1.ListCheckpointsResponse) {
	t.Helper()
	s := r.Summary
	if s.GetEndToEndMs().GetCount() != r.Counts.Completed || r.Counts.Triggered != r.Counts.Completed+r.Counts.Aborted+r.Counts.InProgress {
		t.Errorf("the counts are %v, the summary %v", r.Counts, s)
	}
	for _, k := range r.Checkpoints {
		if k.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
			continue
		}
		if ms := uint64(max(k.EndedMs-k.TriggeredMs, 0)); ms < s.EndToEndMs.Min || ms > s.EndToEndMs.Max {
			t.Errorf("checkpoint %d took %d ms, and the summary says %v", k.Id, ms, s.EndToEndMs)
		}
	}
}
