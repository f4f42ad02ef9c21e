package scenario

import (
	"context"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// twoFlushers are the load of the scenarios about members: one operator with
// checkpoints, one without.
func twoFlushers(c *harness.Cluster) (with, without *harness.Flusher) {
	with = harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic})
	without = harness.StartFlusher(c, harness.FlusherConfig{Job: "without-checkpoints", Pause: traffic})
	with.WaitAcked(50)
	without.WaitAcked(50)
	return with, without
}

// checkBoth compares both loads with what they must be, and the replicas.
func checkBoth(t *testing.T, c *harness.Cluster, with, without *harness.Flusher) {
	t.Helper()
	with.WaitAcked(50)
	without.WaitAcked(50)
	checkFlusher(t, with)
	checkFlusher(t, without)
	with.CheckNewestCheckpoint()
	c.VerifyReplicas()
}

// AddNodes grows a cluster of three to five under load, through a follower and
// through the leader; each new node then carries the cluster alone with one other
// of the first three.
func AddNodes(t *testing.T, c *harness.Cluster) {
	with, without := twoFlushers(c)
	first := c.Joining()
	expectFailure(t, "a call on a node that waits", c.Ask(first, "with-checkpoints"), failure{reason: "NOT_A_MEMBER", outcome: "not_applied"})
	if err := c.AddNode(c.Followers()[0], first); err != nil {
		t.Fatal(err)
	}
	if err := c.AddNode(c.Leader().Index, first); err != nil {
		t.Errorf("the same call again: %v", err)
	}
	c.MustAdd()
	c.WaitMembers(5)
	// Two of the old ones go: without the votes of the new ones nothing goes on.
	for _, i := range []int{0, 1} {
		c.Kill(i)
	}
	c.Leader()
	with.WaitAcked(50)
	c.StartAll()
	checkBoth(t, c, with, without)
}

// RemoveFollower removes a follower that runs, under load. It finds out, says so
// and refuses clients; its operators go on elsewhere.
func RemoveFollower(t *testing.T, c *harness.Cluster) {
	with, without := twoFlushers(c)
	victim := c.Followers()[0]
	expectFailure(t, "the removal of one of three that are well", c.RemoveNode(c.Leader().Index, victim, false),
		failure{reason: "QUORUM_AT_RISK", outcome: "not_applied", metadata: []string{"node"}})
	c.MustRemove(victim, victim)
	expectRemoved(t, c, victim)
	restartRemoved(t, c, victim)
	checkBoth(t, c, with, without)
}

// RemoveLeader removes the node that leads, asked of itself, under load: it hands
// over, and the call is answered.
func RemoveLeader(t *testing.T, c *harness.Cluster) {
	with, without := twoFlushers(c)
	old := c.Leader()
	c.MustRemove(old.Index, old.Index)
	c.WaitForNewLeader(old)
	expectRemoved(t, c, old.Index)
	checkBoth(t, c, with, without)
}

// expectRemoved waits until a removed node knows it, and looks at what it says.
func expectRemoved(t *testing.T, c *harness.Cluster, i int) {
	t.Helper()
	harness.Until(t, "the removed node to notice", func() error {
		d, err := c.DescribeNode(i)
		if err == nil && d.Membership != holdfastv1.Membership_MEMBERSHIP_REMOVED {
			err = errorf("it is %s", d.Membership)
		}
		return err
	})
	expectFailure(t, "a call on a removed node", c.Ask(i, "with-checkpoints"), failure{reason: "NOT_A_MEMBER", outcome: "not_applied"})
	harness.Until(t, "the removed node to say so in its log", func() error {
		b, err := os.ReadFile(c.LogFile(i))
		if err == nil && !strings.Contains(string(b), "was removed from its cluster") {
			err = errorf("nothing about it in %s", c.LogFile(i))
		}
		return err
	})
	c.WaitMembers(len(c.RunningNodes()))
	expectFailure(t, "adding a removed node as it is", c.AddNode(c.Leader().Index, i), failure{reason: "NODE_NOT_ADDABLE", outcome: "not_applied"})
}

// restartRemoved starts a removed node again on its directory: it says what it is,
// and not that it is up.
func restartRemoved(t *testing.T, c *harness.Cluster, i int) {
	t.Helper()
	before, err := os.ReadFile(c.LogFile(i))
	if err != nil {
		t.Fatal(err)
	}
	c.Restart(i)
	harness.Until(t, "the removed node to say so again", func() error {
		b, err := os.ReadFile(c.LogFile(i))
		if err != nil {
			return err
		}
		said := string(b[len(before):])
		if strings.Contains(said, "node is up") || strings.Contains(said, "connect with HOLDFAST_ADDRESS") {
			return harness.Stop("a removed node says that it is up:\n%s", said)
		}
		if !strings.Contains(said, "was removed from its cluster") {
			return errorf("it said\n%s", said)
		}
		return nil
	})
	expectFailure(t, "a call on a removed node that was started again", c.Ask(i, "with-checkpoints"), failure{reason: "NOT_A_MEMBER", outcome: "not_applied"})
	c.Kill(i)
}

// ReplaceNode loses the disk of a follower and of the leader for ever, and puts
// new nodes in their places, under load.
func ReplaceNode(t *testing.T, c *harness.Cluster) {
	with, without := twoFlushers(c)
	for _, victim := range []int{c.Followers()[0], c.Leader().Index} {
		c.Kill(victim)
		if err := os.RemoveAll(c.Node(victim).DataDir); err != nil {
			t.Fatal(err)
		}
		through := c.RunningNodes()[0]
		// Not forced: what is lost counts for nothing.
		harness.Until(t, "the lost node to be removed", func() error { return c.RemoveNode(through, victim, false) })
		c.Retire(victim)
		c.MustAdd()
		with.WaitAcked(50)
		without.WaitAcked(50)
	}
	c.WaitMembers(3)
	checkBoth(t, c, with, without)
}

// TransferLeadership hands leadership to a follower again and again, under load.
func TransferLeadership(t *testing.T, c *harness.Cluster, times int) {
	with, without := twoFlushers(c)
	for n := range times {
		old := c.Leader()
		to := c.Followers()[n%2]
		if err := c.Transfer(n%c.Size(), to); err != nil {
			t.Fatalf("transfer from %s to %s: %v", old.Name, c.Node(to).Name, err)
		}
		if l := c.WaitForNewLeader(old); l.Index != to {
			t.Errorf("leadership went to %s, not %s", l.Name, c.Node(to).Name)
		}
		with.WaitAcked(50)
		without.WaitAcked(50)
	}
	expectFailure(t, "a transfer to a node that is none", c.On(0, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewClusterServiceClient(conn).TransferLeadership(ctx, &holdfastv1.TransferLeadershipRequest{Node: "nobody"})
		return err
	}), failure{reason: "NODE_NOT_FOUND", metadata: []string{"node"}})
	checkBoth(t, c, with, without)
}
