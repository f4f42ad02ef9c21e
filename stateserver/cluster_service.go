package stateserver

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// replicaWait bounds the wait for the hash of one replica.
const replicaWait = 10 * time.Second

// clusterService tells about the nodes.
type clusterService struct {
	holdfastv1.UnimplementedClusterServiceServer
	s *Server
}

// Describe implements holdfastv1.ClusterService.
func (c *clusterService) Describe(context.Context, *holdfastv1.ClusterServiceDescribeRequest) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	st := c.s.store.Stats()
	out := &holdfastv1.ClusterServiceDescribeResponse{
		ClusterId: c.s.store.ClusterID(), NodeId: c.s.store.ID(), LeaderId: c.s.leaderID(), Term: st.Term,
		AppliedIndex: st.AppliedIndex, LastLogIndex: st.LastIndex, SnapshotIndex: st.SnapshotIndex,
		Limits: limits(), ServerVersion: version.Version, CommandsApplied: c.s.store.CommandsApplied(),
		ClusterVersion: c.s.store.ClusterVersion(),
		MetricsAddress: c.s.cfg.MetricsAddress,
		Membership:     holdfastv1.Membership(c.s.store.Membership()), PeerAddress: c.s.store.Address(),
	}
	c.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { m.DescribeNext(out) })
	for _, m := range c.s.store.Members() {
		out.Members = append(out.Members, c.member(m, out.LeaderId))
	}
	return out, nil
}

func (c *clusterService) member(m raftstore.Member, leader string) *holdfastv1.Member {
	out := &holdfastv1.Member{NodeId: m.ID, Name: m.Name, PeerAddress: m.Address, Voter: m.Voter, Leader: m.ID == leader}
	var n *internalv1.Node
	c.s.store.Read(func(machine *coordinator.Machine, _ *keyed.Store) { n = machine.NodeOf(m.ID) })
	if n != nil {
		out.Name, out.ClientAddress, out.Version = n.Name, n.ClientAddress, n.Version
		out.MinClusterVersion, out.MaxClusterVersion = n.MinClusterVersion, n.MaxClusterVersion
	}
	return out
}

// VerifyReplicas implements holdfastv1.ClusterService.
func (c *clusterService) VerifyReplicas(ctx context.Context, _ *holdfastv1.VerifyReplicasRequest) (*holdfastv1.VerifyReplicasResponse, error) {
	ctx, cancel := withReserve(ctx, proposalWait)
	defer cancel()
	_, index, e := c.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_MarkHash{MarkHash: &internalv1.MarkHash{}}})
	if e != nil {
		return nil, toStatus(e)
	}
	out := &holdfastv1.VerifyReplicasResponse{Index: index, Equal: true}
	members := c.s.store.Members()
	out.Replicas = make([]*holdfastv1.ReplicaHash, len(members))
	done := make(chan struct{})
	for i, m := range members {
		go func() {
			defer func() { done <- struct{}{} }()
			out.Replicas[i] = c.replica(ctx, m, index)
		}()
	}
	for range members {
		<-done
	}
	first := ""
	for _, r := range out.Replicas {
		if !r.Reachable {
			continue
		}
		if first == "" {
			first = r.Hash
		}
		out.Equal = out.Equal && r.Hash == first
	}
	return out, nil
}

// replica asks one member for its hash at an index.
func (c *clusterService) replica(ctx context.Context, m raftstore.Member, index uint64) *holdfastv1.ReplicaHash {
	ctx, cancel := context.WithTimeout(ctx, replicaWait)
	defer cancel()
	out := &holdfastv1.ReplicaHash{NodeId: m.ID, Name: c.member(m, "").Name}
	var err error
	if m.ID == c.s.store.ID() {
		out.Hash, err = c.s.store.StateHash(ctx, index)
		out.RestoredSnapshotIndex = c.s.store.RestoredIndex()
	} else {
		var r *internalv1.StateHashResponse
		if r, err = c.remoteHash(ctx, m.ID, index); err == nil {
			out.Hash, out.RestoredSnapshotIndex = r.Hash, r.RestoredSnapshotIndex
		}
	}
	if err != nil {
		out.Error = fmt.Sprintf("no answer from %s within %s: %s", m.Address, replicaWait, status.Convert(err).Message())
		return out
	}
	out.Reachable = true
	return out
}

func (c *clusterService) remoteHash(ctx context.Context, id string, index uint64) (*internalv1.StateHashResponse, error) {
	conn, err := c.s.peers.conn(id)
	if err != nil {
		return nil, err
	}
	return internalv1.NewPeerServiceClient(conn).StateHash(ctx, &internalv1.StateHashRequest{Index: index})
}
