package stateserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// memberErrors is the table from what a change of members can meet to what a
// person is told: the reason, and the remedy.
var memberErrors = []struct {
	err    error
	reason holdfastv1.ErrorReason
	remedy string
}{
	{raftstore.ErrPeerUnreachable, holdfastv1.ErrorReason_ERROR_REASON_NODE_UNREACHABLE,
		"start it with --join, and give the address of its --peer-listen as the members of the cluster reach it"},
	{raftstore.ErrRemoved, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE, "a member that was removed does not come back as it is"},
	{raftstore.ErrWrongCluster, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE,
		"stop it and start it with --join on an empty data directory; the state it has is lost to this cluster"},
	{raftstore.ErrClusterVersion, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE, "then add it again"},
	{raftstore.ErrWrongNode, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE, "name the node by the id that it logs when it starts, or leave the id out"},
	{raftstore.ErrUnknownMember, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "`holdfast cluster status` shows the members"},
	{raftstore.ErrAborted, holdfastv1.ErrorReason_ERROR_REASON_MEMBERSHIP_CHANGE_FAILED,
		"the leader stayed; `holdfast cluster status` tells whether the other node is up and has caught up, then try again"},
	{raftstore.ErrTimeout, holdfastv1.ErrorReason_ERROR_REASON_MEMBERSHIP_CHANGE_FAILED,
		"it may still come to pass: look with `holdfast cluster status`; the call may be repeated"},
}

// memberError renders an error of a change of members.
func memberError(what string, err error, metadata ...string) error {
	for _, row := range memberErrors {
		if errors.Is(err, row.err) {
			e := coordinator.Failure(row.reason, fmt.Sprintf("%s: %s; %s", what, plain(err), row.remedy), metadata...)
			e.Outcome = outcomeOf(err, row.reason)
			return toStatus(e)
		}
	}
	e := fromStore(err)
	e.Message = what + ": " + e.Message
	return toStatus(e)
}

// plain leaves the package names out of a sentence for a person.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "raftstore: ", "") }

// outcomeOf: only a change that was begun may still come to pass.
func outcomeOf(err error, r holdfastv1.ErrorReason) holdfastv1.Outcome {
	if r == holdfastv1.ErrorReason_ERROR_REASON_MEMBERSHIP_CHANGE_FAILED && raftstore.Outcome(err) == raftstore.Unknown {
		return holdfastv1.Outcome_OUTCOME_UNKNOWN
	}
	return holdfastv1.Outcome_OUTCOME_NOT_APPLIED
}

// AddNode implements holdfastv1.ClusterService, on the leader.
func (c *clusterService) AddNode(ctx context.Context, r *holdfastv1.AddNodeRequest) (*holdfastv1.AddNodeResponse, error) {
	if r.PeerAddress == "" {
		return nil, invalidRequest("peer_address", "peer_address is empty; it is the address of the node's --peer-listen")
	}
	what := "add the node at " + r.PeerAddress
	peer, err := c.s.store.LookUp(ctx, r.PeerAddress)
	if err != nil {
		return nil, memberError(what, err, "address", r.PeerAddress)
	}
	id := r.NodeId
	if id == "" {
		id = peer.ID
	}
	if e := c.clash(id, peer.Name, r.PeerAddress); e != nil {
		return nil, toStatus(e)
	}
	if err := c.s.store.AddMember(ctx, id, r.PeerAddress, true); err != nil {
		return nil, memberError(what, err, "node", id, "address", r.PeerAddress)
	}
	c.s.log.Info("node added", "name", peer.Name, "node", id, "address", r.PeerAddress)
	return &holdfastv1.AddNodeResponse{Member: c.memberOf(id)}, nil
}

// clash tells which member stands in the way of a new one: two of one name could
// not be told apart, and behind one address there is one node.
func (c *clusterService) clash(id, name, address string) *holdfastv1.Error {
	for _, m := range c.s.store.Members() {
		if m.ID == id {
			return nil // a change of its address, or the same call again
		}
		m.Name = c.nameOf(m.ID)
		what := ""
		switch {
		case m.Address == address:
			what = "the address " + address
		case m.Name == name:
			what = "the name " + name
		default:
			continue
		}
		return refuse(holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE, id,
			fmt.Sprintf("member %s (%s) has %s already; if it lost its data directory, remove it first: `holdfast cluster remove %s`", m.Name, m.ID, what, m.ID))
	}
	return nil
}

// RemoveNode implements holdfastv1.ClusterService, on the leader.
func (c *clusterService) RemoveNode(ctx context.Context, r *holdfastv1.RemoveNodeRequest) (*holdfastv1.RemoveNodeResponse, error) {
	what := "remove node " + r.Node
	m, err := c.s.store.FindMember(r.Node, c.nameOf)
	if err != nil {
		return nil, memberError(what, err, "node", r.Node)
	}
	left, answers := c.s.store.QuorumWithout(ctx, m.ID)
	if e := atRisk(m, left, answers, r.Force); e != nil {
		return nil, toStatus(e)
	}
	if m.ID == c.s.store.ID() {
		// Its successor removes it: the one who asked is sent there.
		if err := c.s.transfer(ctx, ""); err != nil {
			return nil, memberError(what+", which leads: hand over first", err, "node", m.ID)
		}
		return nil, toStatus(noLeader())
	}
	out := &holdfastv1.RemoveNodeResponse{Member: c.memberOf(m.ID)}
	if err := c.s.store.RemoveMember(ctx, m.ID); err != nil {
		return nil, memberError(what, err, "node", m.ID)
	}
	c.s.log.Info("node removed", "name", m.Name, "node", m.ID, "address", m.Address)
	c.s.forgetOnce(ctx)
	return out, nil
}

// atRisk refuses a removal after which nothing could be committed, and, unless
// it is forced, one of a node that is well after which no other could be lost.
func atRisk(m raftstore.Member, left raftstore.Quorum, answers, force bool) *holdfastv1.Error {
	why := ""
	switch {
	case !m.Voter:
		return nil
	case left.Voters == 0:
		why = "it is the only voter; a cluster that is not needed any more is stopped, not emptied"
	case left.Spare < 0:
		why = fmt.Sprintf("only %d of the other %d voters answer, which is no majority: nothing could be written any more; start those that are down, or remove them first", left.Up, left.Voters)
	case left.Spare == 0 && answers && !force:
		why = fmt.Sprintf("of the other %d voters %d answer, so that the loss of one more would stop the cluster; add a node first (`holdfast cluster add`), or say --force", left.Voters, left.Up)
	default:
		return nil
	}
	return refuse(holdfastv1.ErrorReason_ERROR_REASON_QUORUM_AT_RISK, m.ID, fmt.Sprintf("node %s is not removed: %s", m.Name, why))
}

// refuse is the answer to a change that was not begun.
func refuse(r holdfastv1.ErrorReason, node, message string) *holdfastv1.Error {
	e := coordinator.Failure(r, message, "node", node)
	e.Outcome = holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	return e
}

// TransferLeadership implements holdfastv1.ClusterService, on the leader.
func (c *clusterService) TransferLeadership(ctx context.Context, r *holdfastv1.TransferLeadershipRequest) (*holdfastv1.TransferLeadershipResponse, error) {
	what, target := "transfer leadership", ""
	if r.Node != "" {
		what += " to " + r.Node
		m, err := c.s.store.FindMember(r.Node, c.nameOf)
		if err != nil {
			return nil, memberError(what, err, "node", r.Node)
		}
		target = m.ID
	}
	if target != c.s.store.ID() {
		if err := c.s.transfer(ctx, target); err != nil {
			return nil, memberError(what, err, "node", r.Node)
		}
	}
	return &holdfastv1.TransferLeadershipResponse{Leader: c.memberOf(c.s.leaderID())}, nil
}

// transferPatience is how long a transfer is tried again: the library gives the
// other node one election timeout to catch up and to be elected.
const transferPatience = 10 * time.Second

// transfer hands leadership over and waits until this node knows who leads. With
// a target, leadership that went elsewhere is ErrNotLeader: the one who has it can
// be asked.
func (s *Server) transfer(ctx context.Context, target string) error {
	end := time.Now().Add(transferPatience)
	for {
		err := s.store.TransferLeadership(ctx, target)
		if !s.store.IsLeader() {
			break // whatever the library says: somebody else is to lead
		}
		if err != nil && (!errors.Is(err, raftstore.ErrAborted) || time.Now().After(end)) {
			return err
		}
	}
	for attempt := 0; ; attempt++ {
		switch id := s.leaderID(); {
		case id != "" && (target == "" && id != s.store.ID() || id == target):
			return nil
		case id != "":
			return fmt.Errorf("%w any more", raftstore.ErrNotLeader)
		}
		if err := s.awaitLeader(ctx, attempt); err != nil {
			return fmt.Errorf("%w: the new leader to be known here: %w", raftstore.ErrTimeout, err)
		}
	}
}

func (c *clusterService) nameOf(id string) (name string) {
	c.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { name = m.NodeOf(id).GetName() })
	if name != "" {
		return name
	}
	for _, m := range c.s.store.Members() {
		if m.ID == id {
			return m.Name
		}
	}
	return ""
}

func (c *clusterService) memberOf(id string) *holdfastv1.Member {
	for _, m := range c.s.store.Members() {
		if m.ID == id {
			return c.member(m, c.s.leaderID())
		}
	}
	return &holdfastv1.Member{NodeId: id}
}
