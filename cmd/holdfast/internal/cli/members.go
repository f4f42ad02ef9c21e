package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// memberLimit bounds a change of the members: a new node may have to load a
// large snapshot first.
const memberLimit = 10 * time.Minute

// memberChange makes a call of the ClusterService that changes members.
func (a *app) memberChange(ctx context.Context, what string, f func(context.Context, holdfastv1.ClusterServiceClient) error) error {
	return a.withCluster(what, func(c *connect.Cluster) error {
		return c.DoWithin(ctx, memberLimit, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return f(ctx, holdfastv1.NewClusterServiceClient(conn))
		})
	})
}

type changedView struct {
	NodeID        string `json:"node_id"`
	Name          string `json:"name"`
	PeerAddress   string `json:"peer_address"`
	ClientAddress string `json:"client_address,omitempty"`
}

func (a *app) printChange(verb string, m *holdfastv1.Member) error {
	v := changedView{NodeID: m.GetNodeId(), Name: m.GetName(), PeerAddress: m.GetPeerAddress(), ClientAddress: m.GetClientAddress()}
	return a.print(map[string]any{strings.ReplaceAll(verb, " ", "_"): v}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s (%s) at %s\n", verb, v.Name, v.NodeID, v.PeerAddress)
		return err
	})
}

func (a *app) clusterAddCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "add ADDRESS", Short: "Make a node that waits with --join a member", Args: exactly("ADDRESS"),
		Long: `ADDRESS is that of the new node's --peer-listen, as the members reach it. The
node must run, started with --join on a new data directory. It gets the state
first and a vote when it has caught up. The command may be repeated.`,
		Example: "  holdfastd --join --name n4 --data-dir /var/lib/holdfast --listen HOST4:7070 --peer-listen HOST4:7080 --insecure-listen\n  holdfast cluster add HOST4:7080",
	}
	cmd.Flags().StringVar(&id, "node-id", "", "id of the node, where another one must not be taken for it")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		m, err := a.addNode(ctx, args[0], id)
		if err != nil {
			return err
		}
		return a.printChange("added", m)
	})
	return cmd
}

func (a *app) addNode(ctx context.Context, address, id string) (m *holdfastv1.Member, err error) {
	err = a.memberChange(ctx, "waiting until the new node has caught up", func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
		r, err := s.AddNode(ctx, &holdfastv1.AddNodeRequest{PeerAddress: address, NodeId: id})
		m = r.GetMember()
		return err
	})
	return m, err
}

func (a *app) clusterRemoveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove NODE", Short: "Take a member out of the cluster, for ever", Args: exactly("NODE"),
		Long: `NODE is a member's name, id or peer address. Its operators go on at other nodes.
A node that leads hands over first. A node that is down can be removed too: that
is how a lost one makes room for its replacement.

A removal is refused while the cluster could not lose another node afterwards:
add a node first, or say --force. One that would leave no majority is always
refused. A removed node comes back only as a new member, with an empty data
directory.`,
		Example: "  holdfast cluster remove n3", ValidArgsFunction: a.completeMembers,
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it although the cluster could then not lose another node")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		m, err := a.removeNode(ctx, args[0], force)
		if err != nil {
			return err
		}
		return a.printChange("removed", m)
	})
	return cmd
}

func (a *app) removeNode(ctx context.Context, node string, force bool) (m *holdfastv1.Member, err error) {
	err = a.memberChange(ctx, "waiting until the node is removed", func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
		r, err := s.RemoveNode(ctx, &holdfastv1.RemoveNodeRequest{Node: node, Force: force})
		m = r.GetMember()
		return err
	})
	return m, err
}

func (a *app) clusterTransferCommand() *cobra.Command {
	return &cobra.Command{
		Use: "transfer-leadership [NODE]", Short: "Hand leadership to another node", Args: between(0, "NODE"),
		Long:    "NODE is the name, id or peer address of the node that is to lead; without it the one that is furthest does.",
		Example: "  holdfast cluster transfer-leadership n2", ValidArgsFunction: a.completeMembers,
		RunE: a.do(func(ctx context.Context, args []string) error {
			var leader *holdfastv1.Member
			err := a.memberChange(ctx, "waiting for the new leader", func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
				r, err := s.TransferLeadership(ctx, &holdfastv1.TransferLeadershipRequest{Node: strings.Join(args, "")})
				leader = r.GetLeader()
				return err
			})
			if err != nil {
				return err
			}
			return a.printChange("leader is", leader)
		}),
	}
}

func (a *app) nodeAddCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "add --dir DIR", Short: "Start one more node and make it a member", Args: exactly(),
		Example: "  holdfast node add --dir ./hf",
	}
	dirFlag(cmd, &dir)
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		c, err := a.local(dir)
		if err != nil {
			return err
		}
		return a.growLocal(ctx, c)
	})
	return cmd
}

// local opens the cluster in dir and makes its nodes those that are called.
func (a *app) local(dir string) (*nodes.Cluster, error) {
	if err := needDir(dir); err != nil {
		return nil, err
	}
	c, err := nodes.Open(dir)
	if err == nil && a.addressList == "" {
		a.addressList = strings.Join(c.Addresses(), ",")
	}
	return c, err
}

func (a *app) growLocal(ctx context.Context, c *nodes.Cluster) error {
	binary, err := procs.Find("holdfastd", "HOLDFASTD")
	if err != nil {
		return err
	}
	n, err := c.Grow()
	if err != nil {
		return err
	}
	started, err := c.Start(binary, n.Name)
	if err != nil {
		return err
	}
	if err := c.WaitUp(ctx, servingLimit, n.Name); err != nil {
		return err
	}
	if _, err := a.addNode(ctx, n.PeerAddress, ""); err != nil {
		return fmt.Errorf("node %s runs and waits; `holdfast cluster add %s` tries again: %w", n.Name, n.PeerAddress, err)
	}
	if err := c.WaitServing(ctx, servingLimit, n.Name); err != nil {
		return err
	}
	return a.printStarted(c, started, n.Name)
}

func (a *app) nodeRemoveCommand() *cobra.Command {
	var dir string
	var force bool
	cmd := &cobra.Command{
		Use: "remove NODE --dir DIR", Short: "Take a node out of the cluster and stop it; its files stay", Args: exactly("NODE"),
		Example: "  holdfast node remove n3 --dir ./hf", ValidArgsFunction: completeLocalNodes(&dir),
	}
	dirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&force, "force", false, "remove it although the cluster could then not lose another node")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		c, err := a.local(dir)
		if err != nil {
			return err
		}
		n, err := c.Node(args[0])
		if err != nil {
			return err
		}
		m, err := a.removeNode(ctx, n.Name, force)
		if exit.CodeOf(err) == exit.NotFound {
			// A removal that stopped half way.
			m, err = &holdfastv1.Member{Name: n.Name, PeerAddress: n.PeerAddress, ClientAddress: n.ClientAddress}, nil
		}
		if err != nil {
			return err
		}
		if err := c.Forget(n.Name); err != nil {
			return err
		}
		return a.printChange("removed", m)
	})
	return cmd
}
