package scenario

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// QuorumLost kills two of three nodes for longer than the session timeout. Every
// call on the one that is left says NO_LEADER; when the others are back the jobs
// go on by themselves: nothing is lost or counted twice, and no attempt ends.
func QuorumLost(t *testing.T, c *harness.Cluster) {
	with := harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic})
	without := harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic})
	with.WaitAcked(50)
	without.WaitAcked(50)
	c.WaitCheckpoint(with.JobID, 0)
	left := c.Leader().Index
	var lost []int
	for _, i := range c.Followers() {
		c.Kill(i)
		lost = append(lost, i)
	}
	begin := time.Now()
	var calls sync.WaitGroup
	for name, call := range everyCall(with.JobID) {
		calls.Go(func() {
			// More than once: the answer has 100 ms to reach the client.
			err := harness.Soon(harness.Patience(), func() error {
				f := harness.FailureOf(c.OnWithin(left, 2*time.Second, call))
				if f.Reason != "NO_LEADER" && f.Reason != "PROPOSAL_TIMEOUT" || f.Message == "" {
					return errorf("reason %q, code %s, %q", f.Reason, f.Code, f.Message)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s without a leader: %v", name, err)
			}
		})
	}
	calls.Wait()
	harness.Until(t, "the session timeout to be over twice", func() error {
		if d := time.Since(begin); d < 2*c.SessionTimeout {
			return errorf("%s of %s", d, 2*c.SessionTimeout)
		}
		return nil
	})
	for _, i := range lost {
		c.Start(i)
	}
	c.WaitForAllToKnow()
	for _, f := range []*harness.Flusher{with, without} {
		f.WaitAcked(50)
		checkFlusher(t, f)
	}
	c.VerifyReplicas()
}

// everyCall is a call of each kind that needs a leader.
func everyCall(job string) map[string]func(context.Context, *grpc.ClientConn) error {
	ref := &holdfastv1.StateSelector{Job: job, OperatorUid: harness.FlusherOperator, StateName: harness.FlusherState}
	jobs := func(f func(context.Context, holdfastv1.JobServiceClient) error) func(context.Context, *grpc.ClientConn) error {
		return func(ctx context.Context, conn *grpc.ClientConn) error {
			return f(ctx, holdfastv1.NewJobServiceClient(conn))
		}
	}
	nodes := func(f func(context.Context, holdfastv1.ClusterServiceClient) error) func(context.Context, *grpc.ClientConn) error {
		return func(ctx context.Context, conn *grpc.ClientConn) error {
			return f(ctx, holdfastv1.NewClusterServiceClient(conn))
		}
	}
	return map[string]func(context.Context, *grpc.ClientConn) error{
		"Submit": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.Submit(ctx, &holdfastv1.SubmitRequest{Spec: harness.FlusherConfig{Job: "late", Slots: 1}.Spec()})
			return err
		}),
		"List": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.List(ctx, &holdfastv1.ListRequest{})
			return err
		}),
		"Describe": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.Describe(ctx, &holdfastv1.DescribeRequest{Job: job})
			return err
		}),
		"ListCheckpoints": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: job})
			return err
		}),
		"TriggerCheckpoint": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: job})
			return err
		}),
		"Cancel": jobs(func(ctx context.Context, s holdfastv1.JobServiceClient) error {
			_, err := s.Cancel(ctx, &holdfastv1.CancelRequest{Job: "none"})
			return err
		}),
		"Get": func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := holdfastv1.NewStateServiceClient(conn).Get(ctx, &holdfastv1.GetRequest{State: ref, Keys: [][]byte{[]byte("k")}})
			return err
		},
		"Scan": func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := holdfastv1.NewStateServiceClient(conn).Scan(ctx, &holdfastv1.ScanRequest{State: ref})
			return err
		},
		"VerifyReplicas": nodes(func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.VerifyReplicas(ctx, &holdfastv1.VerifyReplicasRequest{})
			return err
		}),
		"AddNode": nodes(func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.AddNode(ctx, &holdfastv1.AddNodeRequest{PeerAddress: "127.0.0.1:1"})
			return err
		}),
		"RemoveNode": nodes(func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.RemoveNode(ctx, &holdfastv1.RemoveNodeRequest{Node: "n1"})
			return err
		}),
		"TransferLeadership": nodes(func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.TransferLeadership(ctx, &holdfastv1.TransferLeadershipRequest{})
			return err
		}),
		"SaveSnapshot": nodes(func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			stream, err := s.SaveSnapshot(ctx, &holdfastv1.SaveSnapshotRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		}),
	}
}
