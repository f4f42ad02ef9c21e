package scenario

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// StateReads reads state through every node: whole and in pages of several
// sizes, live and of a checkpoint, key by key. A reader in the midst of changes
// sees every key that is there throughout, once.
func StateReads(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "read", CheckpointMs: 3_600_000, Keys: 500, Ops: 20, Pause: traffic})
	ref := harness.StateRef{Job: "read", Operator: harness.FlusherOperator, State: harness.FlusherState}
	harness.Until(t, "every key to be there", func() error {
		if n := len(c.Counts(ref)); n < 500 {
			return errorf("%d of 500", n)
		}
		return nil
	})
	for _, size := range []uint32{1, 7, 100, 10000} {
		got, err := c.Scan(c.Leader().Index, ref, size)
		if err != nil || len(got) != 500 {
			t.Fatalf("in pages of %d: %d keys, %v; want 500 while they change", size, len(got), err)
		}
	}
	made := f.Quiesce()
	r, err := c.Trigger(f.JobID, "cut")
	if err != nil {
		t.Fatal(err)
	}
	c.WaitCheckpoint(f.JobID, 0)
	cut := harness.FlusherSums(made, f.Config.Ops, f.Config.Keys)
	f.Continue()
	f.WaitAcked(50)
	now := harness.FlusherSums(f.Quiesce(), f.Config.Ops, f.Config.Keys)
	if maps.Equal(cut, now) {
		t.Fatal("nothing changed after the checkpoint, so nothing can be told apart")
	}
	for i := range c.Size() {
		c.WaitCaughtUp(i)
		for _, size := range []uint32{0, 7, 499} {
			for id, want := range map[uint64]map[string]int64{0: now, r.CheckpointId: cut} {
				ref.Checkpoint = id
				got, err := c.Scan(i, ref, size)
				if err != nil {
					t.Fatalf("scan on %s in pages of %d: %v", c.Node(i).Name, size, err)
				}
				if d := harness.Difference(numbers(got), want); d != "" {
					t.Errorf("scan on %s in pages of %d at checkpoint %d: %s", c.Node(i).Name, size, id, d)
				}
				getKeys(t, c, i, ref, want)
			}
		}
	}
}

func numbers(m map[string][]byte) map[string]int64 {
	out := map[string]int64{}
	for k, v := range m {
		for i, b := range v {
			out[k] |= int64(b) << (8 * i)
		}
	}
	return out
}

// getKeys asks for all keys and for one that is not there, in an order of its
// own.
func getKeys(t *testing.T, c *harness.Cluster, node int, ref harness.StateRef, want map[string]int64) {
	t.Helper()
	keys := append(slices.Collect(maps.Keys(want)), "absent")
	req := &holdfastv1.GetRequest{State: &holdfastv1.StateSelector{
		Job: ref.Job, OperatorUid: ref.Operator, StateName: ref.State, CheckpointId: ref.Checkpoint,
	}}
	for _, k := range keys {
		req.Keys = append(req.Keys, []byte(k))
	}
	var r *holdfastv1.GetResponse
	err := c.On(node, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewStateServiceClient(conn).Get(ctx, req)
		return err
	})
	if err != nil || len(r.Entries) != len(keys) || r.Type != "int64" {
		t.Fatalf("get %d keys on %s: %d entries of type %q, %v", len(keys), c.Node(node).Name, len(r.GetEntries()), r.GetType(), err)
	}
	for i, e := range r.Entries {
		n, there := want[keys[i]]
		if !bytes.Equal(e.Key, req.Keys[i]) || e.Found != there || there && numbers(map[string][]byte{"": e.Value})[""] != n {
			t.Errorf("get %q at checkpoint %d on %s: %v, want %d (there: %v)", keys[i], ref.Checkpoint, c.Node(node).Name, e, n, there)
		}
	}
}

// AnyNodeAnswers asks every node about a job, followers too, and watches it
// through one of them.
func AnyNodeAnswers(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "job", CheckpointMs: 100, Pause: traffic})
	c.WaitCheckpoint(f.JobID, 1)
	for i := range c.Size() {
		err := c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
			j := holdfastv1.NewJobServiceClient(conn)
			l, err := j.List(ctx, &holdfastv1.ListRequest{})
			if err != nil || len(l.Jobs) != 1 || l.Jobs[0].JobId != f.JobID {
				t.Errorf("list on %s: %v, %v", c.Node(i).Name, l, err)
			}
			d, err := j.Describe(ctx, &holdfastv1.DescribeRequest{Job: "job"})
			if err != nil || d.Job.Summary.JobId != f.JobID || d.Job.Summary.Status != holdfastv1.JobStatus_JOB_STATUS_RUNNING {
				t.Errorf("describe on %s: %v, %v", c.Node(i).Name, d, err)
			}
			k, err := j.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: "job"})
			if err != nil || harness.Completed(k) == nil {
				t.Errorf("checkpoints on %s: %v, %v", c.Node(i).Name, k, err)
			}
			_, err = j.TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: "job", RequestId: harness.RandomName("trigger")})
			if reason := harness.FailureOf(err).Reason; err != nil && reason != "CHECKPOINT_PENDING" {
				t.Errorf("trigger on %s: %v", c.Node(i).Name, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	watchToTheEnd(t, c, f)
}

// watchToTheEnd watches a job through a follower while it is canceled through
// another node.
func watchToTheEnd(t *testing.T, c *harness.Cluster, f *harness.Flusher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience())
	defer cancel()
	w, err := holdfastv1.NewJobServiceClient(c.Conn(c.Followers()[0])).Watch(ctx, &holdfastv1.WatchRequest{Job: f.JobID})
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Recv()
	if err != nil || first.Job.Summary.JobId != f.JobID {
		t.Fatalf("watch begins with %v, %v", first, err)
	}
	mustCancel(t, c, f.JobID)
	last := first
	for {
		m, err := w.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("watch ended with %v", err)
		}
		last = m
	}
	if last.Job.Summary.Status != holdfastv1.JobStatus_JOB_STATUS_CANCELED {
		t.Errorf("the last that Watch told is %s", last.Job.Summary.Status)
	}
}
