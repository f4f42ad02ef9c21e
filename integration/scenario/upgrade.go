package scenario

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The cluster versions of this build and of harness.NextBuild, and the field by
// which the latter tells how many leaderships its new command has recorded
// (coordinator/next_on.go).
const (
	thisVersion, nextVersion  = 1, 2
	leadershipsRecorded       = 1000
	refusedOldBuild           = "the cluster is at version 2, this build supports version 1 only: start the node with a newer build"
	statusRefused, statusHalt = 1, 70
)

// RollingUpgrade upgrades every node to the next build in order, under load
// (invariant 7): as long as one node is old, the cluster version stays, nobody
// uses the new command and nobody halts; then the version is raised, the new
// command is used and in snapshots, and every copy is the same. Operators notice
// nothing.
func RollingUpgrade(t *testing.T, c *harness.Cluster) {
	next := harness.Binary(t, harness.NextBuild)
	blameHalts(t, c)
	l := startRollingLoad(t, c)
	for i := range c.Size() {
		for n := range c.Size() {
			if d := describeCluster(c, n); d.ClusterVersion != thisVersion || recorded(d) != 0 {
				t.Fatalf("with %d new nodes %s is at version %d with %d leaderships recorded", i, c.Node(n).Name, d.ClusterVersion, recorded(d))
			}
		}
		l.roll(i, func() { c.UseBuild(i, next) })
		newNodeLeads(l, i)
		c.VerifyReplicas()
	}
	waitVersion(c, nextVersion)
	before := waitRecorded(c, 1)
	// Another leader records its leadership, too.
	old := c.Leader()
	l.roll(old.Index, func() {})
	after := waitRecorded(c, before+1)
	waitSnapshots(c, describeCluster(c, 0).GetAppliedIndex())
	t.Logf("the version was raised to %d when all nodes were new; leaderships recorded: %d, %d after another one", nextVersion, before, after)
	l.check()
	// What the new command did is in every log and snapshot.
	c.KillAll()
	c.StartAll()
	waitVersion(c, nextVersion)
	waitRecorded(c, after)
	c.VerifyReplicas()
}

// Downgrade takes one node back while it is allowed, and tries it when it no
// longer is: the old build refuses to start, whether or not it has been told of
// the raise, and the new one goes on from the same data.
func Downgrade(t *testing.T, c *harness.Cluster) {
	this, next := harness.Binary(t, "holdfastd"), harness.Binary(t, harness.NextBuild)
	l := startRollingLoad(t, c)
	l.roll(0, func() { c.UseBuild(0, next) })
	waitSupports(c, 0, nextVersion)
	l.roll(0, func() { c.UseBuild(0, this) })
	waitSupports(c, 0, thisVersion)
	c.VerifyReplicas()
	t.Log("before the raise a node went back")

	// Node 0 is away when the version is raised, and has said that it supports it.
	l.roll(0, func() { c.UseBuild(0, next) })
	waitSupports(c, 0, nextVersion)
	l.roll(1, func() { c.UseBuild(1, next) })
	waitSupports(c, 1, nextVersion)
	c.Stop(2)
	c.UseBuild(2, next)
	c.Kill(0)
	c.Start(2)
	waitVersion(c, nextVersion)
	c.UseBuild(0, this)
	refusedStart(t, c, 0, statusHalt)
	c.UseBuild(0, next)
	c.Start(0)
	c.WaitCaughtUp(0)

	// Now it is told, too.
	for i := range c.Size() {
		l.pass()
		c.Stop(i)
		c.UseBuild(i, this)
		refusedStart(t, c, i, statusRefused)
		l.pass()
		c.UseBuild(i, next)
		c.Start(i)
		c.WaitCaughtUp(i)
	}
	l.check()
}

// OldNodeJoins tries to add a node of the old build to a cluster that was raised:
// whoever adds it is told both versions and the remedy. With the new build it is
// added.
func OldNodeJoins(t *testing.T, c *harness.Cluster) {
	next := harness.Binary(t, harness.NextBuild)
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "with-checkpoints", CheckpointMs: 100, Pause: traffic})
	for i := range c.Size() {
		f.WaitAcked(20)
		c.Stop(i)
		c.UseBuild(i, next)
		c.Start(i)
		c.WaitCaughtUp(i)
	}
	waitVersion(c, nextVersion)
	joiner := c.Joining()
	err := c.AddNode(c.Leader().Index, joiner)
	expectFailure(t, "adding an old node", err, failure{reason: "NODE_NOT_ADDABLE", outcome: "not_applied"})
	if said := harness.FailureOf(err).Message; !strings.Contains(said, refusedOldBuild) {
		t.Errorf("adding an old node fails with %q, want %q", said, refusedOldBuild)
	} else {
		t.Logf("adding an old node fails with: %s", said)
	}
	c.Stop(joiner)
	c.UseBuild(joiner, next)
	c.Start(joiner)
	c.Until("the new build to be added", func() error { return c.AddNode(c.Leader().Index, joiner) })
	c.WaitMembers(c.Size())
	checkFlusher(t, f)
	c.VerifyReplicas()
}

// refusedStart starts a node that must refuse, with the status given and a text
// that names both versions and the remedy.
func refusedStart(t *testing.T, c *harness.Cluster, i, want int) {
	t.Helper()
	c.Start(i)
	status, said := c.WaitRefused(i)
	if status != want || !strings.Contains(said, refusedOldBuild) {
		t.Errorf("the old build of %s ended with status %d, want %d with %q:\n%s", c.Node(i).Name, status, want, refusedOldBuild, said)
		return
	}
	t.Logf("after the raise the old build of %s ended with status %d: %s", c.Node(i).Name, status, refusedOldBuild)
}

// newNodeLeads hands leadership to a node that is new: what it proposes is what
// could halt the old ones.
func newNodeLeads(l *rollingLoad, i int) {
	l.c.Until("the new node "+l.c.Node(i).Name+" to lead", func() error {
		if l.c.Leader().Index == i {
			return nil
		}
		if err := l.c.Transfer(l.c.RunningNodes()[0], i); err != nil {
			return err
		}
		return errorf("another one leads")
	})
	l.pass()
}

// blameHalts says which invariant is broken if nodes halted and the test failed.
func blameHalts(t *testing.T, c *harness.Cluster) {
	t.Cleanup(func() {
		for _, i := range c.RunningNodes() {
			if status, ended := c.Ended(i); t.Failed() && ended {
				t.Errorf("invariant 7: a rolling upgrade halts nobody, but %s ended with status %d", c.Node(i).Name, status)
			}
		}
	})
}

// waitSnapshots waits until every node has taken a snapshot after an index.
func waitSnapshots(c *harness.Cluster, index uint64) {
	for _, i := range c.RunningNodes() {
		c.Until("a snapshot of "+c.Node(i).Name, func() error {
			if got := describeCluster(c, i).GetSnapshotIndex(); got <= index {
				return errorf("its newest is of %d, not after %d", got, index)
			}
			return nil
		})
	}
}

func describeCluster(c *harness.Cluster, i int) *holdfastv1.ClusterServiceDescribeResponse {
	var d *holdfastv1.ClusterServiceDescribeResponse
	_ = c.On(i, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		d, err = holdfastv1.NewClusterServiceClient(conn).Describe(ctx, &holdfastv1.ClusterServiceDescribeRequest{})
		return err
	}) // a node without an answer shows no version
	return d
}

// recorded is how many leaderships the new command has recorded; an old build
// says nothing of it.
func recorded(d *holdfastv1.ClusterServiceDescribeResponse) uint64 {
	b := d.ProtoReflect().GetUnknown()
	number, _, n := protowire.ConsumeTag(b)
	if n < 0 || number != leadershipsRecorded {
		return 0
	}
	v, _ := protowire.ConsumeVarint(b[n:])
	return v
}

// waitVersion waits until every running node has applied a cluster version.
func waitVersion(c *harness.Cluster, want uint32) {
	for _, i := range c.RunningNodes() {
		c.Until("the cluster version of "+c.Node(i).Name, func() error {
			if got := describeCluster(c, i).GetClusterVersion(); got != want {
				return errorf("it is %d, not %d", got, want)
			}
			return nil
		})
	}
}

// waitSupports waits until every running node knows up to which version a node
// supports.
func waitSupports(c *harness.Cluster, node int, want uint32) {
	for _, i := range c.RunningNodes() {
		c.Until("the registration of "+c.Node(node).Name+" on "+c.Node(i).Name, func() error {
			for _, m := range describeCluster(c, i).GetMembers() {
				if m.Name == c.Node(node).Name && m.MaxClusterVersion == want {
					return nil
				}
			}
			return errorf("it does not support up to %d", want)
		})
	}
}

// waitRecorded waits until every running node has applied the recording of at
// least so many leaderships, and all the same number.
func waitRecorded(c *harness.Cluster, least uint64) (same uint64) {
	c.Until("leaderships to be recorded", func() error {
		same = 0
		for _, i := range c.RunningNodes() {
			got := recorded(describeCluster(c, i))
			if got < least || same != 0 && got != same {
				return errorf("%s has %d, another one %d; want %d", c.Node(i).Name, got, same, least)
			}
			same = got
		}
		return nil
	})
	return same
}
