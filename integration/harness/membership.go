package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/internal/testport"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// memberCall bounds a change of the members.
const memberCall = 30 * time.Second

// beginning are the flags that say how a node gets its cluster.
func (n Node) beginning(initialCluster string) []string {
	if n.Join {
		return []string{"--join"}
	}
	return []string{"--initial-cluster", initialCluster}
}

func (c *Cluster) initialFor(n Node) string {
	if n.Join {
		return ""
	}
	return c.initial
}

// Joining starts a new node that waits to be added, and returns its index.
func (c *Cluster) Joining() int {
	c.t.Helper()
	addrs := testport.Free(c.t, portsOfNode)
	i := c.Size()
	n := Node{Index: i, Name: fmt.Sprintf("n%d", i+1), ClientAddress: addrs[0], ListenAddress: addrs[0], PeerAddress: addrs[1], PeerAdvertise: addrs[1], Join: true}
	n.DataDir = filepath.Join(c.dir, n.Name)
	if c.security != nil {
		c.security.Issue(n.Name)
		c.security.Secure(n.ClientAddress, n.ListenAddress)
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.running = append(c.running, false)
	c.conns = append(c.conns, nil)
	c.mu.Unlock()
	c.Start(i)
	Until(c.t, "the new node to wait", func() error {
		d, err := c.describe(i)
		if err == nil && d.Membership != holdfastv1.Membership_MEMBERSHIP_WAITING {
			err = fmt.Errorf("it is %s", d.Membership)
		}
		return err
	})
	return i
}

// AddNode asks one node to add another.
func (c *Cluster) AddNode(through, i int) error {
	return c.member(through, func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
		_, err := s.AddNode(ctx, &holdfastv1.AddNodeRequest{PeerAddress: c.Node(i).PeerAdvertise})
		return err
	})
}

// MustAdd starts a node and adds it through any other one.
func (c *Cluster) MustAdd() int {
	c.t.Helper()
	through := c.RunningNodes()[0]
	i := c.Joining()
	Until(c.t, "node "+c.Node(i).Name+" to be added", func() error { return c.AddNode(through, i) })
	c.WaitForAllToKnow()
	return i
}

// RemoveNode asks one node to remove another, by its name.
func (c *Cluster) RemoveNode(through, i int, force bool) error {
	return c.member(through, func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
		_, err := s.RemoveNode(ctx, &holdfastv1.RemoveNodeRequest{Node: c.Node(i).Name, Force: force})
		return err
	})
}

// MustRemove removes a node through any other one, or itself if through is it.
// It counts as none of the cluster's from then on; its process goes on.
func (c *Cluster) MustRemove(through, i int) {
	c.t.Helper()
	if err := c.RemoveNode(through, i, true); err != nil {
		c.t.Fatalf("remove node %s through %s: %v", c.Node(i).Name, c.Node(through).Name, err)
	}
	c.removed[i] = true
	c.setRunning(i, false)
}

// Transfer hands leadership to a node, or to any with -1.
func (c *Cluster) Transfer(through, i int) error {
	return c.member(through, func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
		name := ""
		if i >= 0 {
			name = c.Node(i).Name
		}
		_, err := s.TransferLeadership(ctx, &holdfastv1.TransferLeadershipRequest{Node: name})
		return err
	})
}

func (c *Cluster) member(through int, f func(context.Context, holdfastv1.ClusterServiceClient) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), memberCall)
	defer cancel()
	return f(ctx, holdfastv1.NewClusterServiceClient(c.Conn(through)))
}

// DescribeNode asks a node, running or removed, for its own view.
func (c *Cluster) DescribeNode(i int) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	return c.describe(i)
}

// Retire counts a node that was removed as none of the cluster's.
func (c *Cluster) Retire(i int) { c.removed[i] = true }

// WaitMembers waits until the leader knows n members, all with a vote, and has a
// record of just these.
func (c *Cluster) WaitMembers(n int) {
	c.t.Helper()
	Until(c.t, fmt.Sprintf("%d members", n), func() error {
		d, err := c.describe(c.Leader().Index)
		if err != nil {
			return err
		}
		complete := 0
		for _, m := range d.Members {
			if m.Voter && m.ClientAddress != "" {
				complete++
			}
		}
		if len(d.Members) != n || complete != n {
			return fmt.Errorf("%d of %d are complete: %v", complete, len(d.Members), d.Members)
		}
		return nil
	})
}

// Ask describes a job through one node, once.
func (c *Cluster) Ask(i int, job string) error {
	return c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).Describe(ctx, &holdfastv1.DescribeRequest{Job: job})
		return err
	})
}
