package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/testport"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// BadMembers asks for changes of the members that cannot be, through every node:
// each is refused with its reason, and the members stay as they are (invariant 13).
// other is another cluster, of one node more.
func BadMembers(t *testing.T, c, other *harness.Cluster) {
	c.WaitMembers(c.Size())
	own, theirs := describeOf(t, c, 0), describeOf(t, other, 0)
	var all []string
	for _, m := range own.Members {
		all = append(all, fmt.Sprintf("%s (%s)", m.Name, m.NodeId))
	}
	first := own.Members[0]
	type call = func(context.Context, holdfastv1.ClusterServiceClient) error
	add := func(address, id string) call {
		return func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.AddNode(ctx, &holdfastv1.AddNodeRequest{PeerAddress: address, NodeId: id})
			return err
		}
	}
	remove := func(node string) call {
		return func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.RemoveNode(ctx, &holdfastv1.RemoveNodeRequest{Node: node})
			return err
		}
	}
	transfer := func(node string) call {
		return func(ctx context.Context, s holdfastv1.ClusterServiceClient) error {
			_, err := s.TransferLeadership(ctx, &holdfastv1.TransferLeadershipRequest{Node: node})
			return err
		}
	}
	unknown := func(what string) failure {
		return failure{code: codes.NotFound, reason: "NODE_NOT_FOUND", outcome: "not_applied", metadata: []string{"node"},
			message: what + ": no such member: \"nobody\"; the members are " + strings.Join(all, ", ") + "; `holdfast cluster status` shows the members"}
	}
	refused := func(reason, text string) failure {
		return failure{code: codes.FailedPrecondition, reason: reason, outcome: "not_applied", message: text}
	}
	dead := testport.Free(t, 1)[0]
	client, namesake, stranger := c.Node(0).ClientAddress, other.Node(0), other.Node(c.Size())
	type row struct {
		name string
		call call
		want failure
	}
	rows := []row{
		{"remove a node that is none", remove("nobody"), unknown("remove node nobody")},
		{"transfer to a node that is none", transfer("nobody"), unknown("transfer leadership to nobody")},
		{"add no address", add("", ""), invalidRequest("peer_address is empty; it is the address of the node's --peer-listen")},
		{"add where nobody is", add(dead, ""), refused("NODE_UNREACHABLE",
			"add the node at "+dead+": no node answers at this peer address: dial peer: dial tcp "+dead+": connect: connection refused; start it with --join, and give the address of its --peer-listen as the members of the cluster reach it")},
		{"add a member by another id", add(first.PeerAddress, "0123"), refused("NODE_NOT_ADDABLE",
			"member "+first.Name+" ("+first.NodeId+") has the address "+first.PeerAddress+" already; if it lost its data directory, remove it first: `holdfast cluster remove "+first.NodeId+"`")},
		{"remove one of three that are well", remove(first.Name), refused("QUORUM_AT_RISK",
			"node "+first.Name+" is not removed: of the other 2 voters 2 answer, so that the loss of one more would stop the cluster; add a node first (`holdfast cluster add`), or say --force")},
	}
	// With TLS nothing of a stranger is believed: raftstore's tests of certificates.
	if !harness.AllTLS() {
		rows = append(rows, []row{
			{"add a client port", add(client, ""), refused("NODE_UNREACHABLE",
				"add the node at "+client+": no node answers at this peer address: handshake with "+client+": bad handshake: not a Holdfast peer connection; start it with --join, and give the address of its --peer-listen as the members of the cluster reach it")},
			{"add a node of another cluster", add(stranger.PeerAddress, ""), refused("NODE_NOT_ADDABLE",
				"add the node at "+stranger.PeerAddress+": belongs to another cluster: node "+describeOf(t, other, stranger.Index).NodeId+" at "+stranger.PeerAddress+" is of cluster "+theirs.ClusterId+"; stop it and start it with --join on an empty data directory; the state it has is lost to this cluster")},
			{"add a node of a member's name", add(namesake.PeerAddress, ""), refused("NODE_NOT_ADDABLE",
				"member "+namesake.Name+" ("+own.NodeId+") has the name "+namesake.Name+" already; if it lost its data directory, remove it first: `holdfast cluster remove "+own.NodeId+"`")},
			{"add a node by another id", add(stranger.PeerAddress, "0123"), refused("NODE_NOT_ADDABLE",
				"add the node at "+stranger.PeerAddress+": add member 0123: handshake with "+stranger.PeerAddress+": another node answers at this address: node "+describeOf(t, other, stranger.Index).NodeId+" ("+stranger.Name+
					") answers here, not 0123: a node that lost its data directory is a new member; name the node by the id that it logs when it starts, or leave the id out")},
		}...)
	}
	for _, bad := range rows {
		for i := range c.Size() {
			err := c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
				return bad.call(ctx, holdfastv1.NewClusterServiceClient(conn))
			})
			expectFailure(t, bad.name+" on "+c.Node(i).Name, err, bad.want)
		}
	}
	c.WaitMembers(c.Size())
}

func describeOf(t *testing.T, c *harness.Cluster, i int) *holdfastv1.ClusterServiceDescribeResponse {
	t.Helper()
	d, err := c.DescribeNode(i)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
