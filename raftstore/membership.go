package raftstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one member of the cluster, as the newest configuration that this
// node knows says. It may not be committed yet.
type Member struct {
	ID string
	// Name is the NodeName of the member, empty if this node has not met it.
	Name    string
	Address string
	// Voter is false for a member that receives the log without a vote.
	Voter bool
}

// Members returns all members, this node included.
func (n *Node) Members() []Member {
	names := n.self.allNames()
	var members []Member
	for _, s := range n.servers() {
		members = append(members, Member{ID: string(s.ID), Name: names[string(s.ID)], Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return members
}

// servers returns the newest configuration. The future is answered already.
func (n *Node) servers() []raft.Server { return n.raft.GetConfiguration().Configuration().Servers }

func (n *Node) raftID() raft.ServerID { return raft.ServerID(n.ID()) }

func (n *Node) member(id string) (raft.Server, bool) {
	for _, s := range n.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// AddMember adds the node with this id at this address, or changes address and
// vote of a member. The node must be up: it is asked for its id first. A new
// voter is added without a vote and gets it when it has caught up, so that a
// slow newcomer does not hold up commits. Leader only.
//
// # Errors
//
// ErrNotLeader, ErrWrongNode, ErrWrongCluster, ErrClusterVersion, ErrTimeout,
// ErrLeadershipLost.
// After an error of class unknown look at Members and call it again: the call
// may be repeated.
func (n *Node) AddMember(ctx context.Context, id, address string, voter bool) error {
	if !n.IsLeader() {
		return ErrNotLeader
	}
	h, err := n.port.askHello(ctx, id, address)
	if err != nil {
		return fmt.Errorf("add member %s: %w", id, asUnreachable(err))
	}
	if h.ClusterID != "" && h.ClusterID != n.ClusterID() {
		return fmt.Errorf("%w: node %s at %s is of cluster %s", ErrWrongCluster, id, address, h.ClusterID)
	}
	if err := h.Versions.Check(n.self.clusterVersion()); err != nil {
		return fmt.Errorf("raftstore: add member %s (%s) at %s: %w", id, h.Name, address, err)
	}
	old, known := n.member(id)
	sid, addr := raft.ServerID(id), raft.ServerAddress(address)
	isVoter := known && old.Suffrage == raft.Voter
	switch {
	case known && isVoter == voter && old.Address == addr:
		return nil
	case isVoter && voter:
		return n.changeConfig(ctx, "change address", func() raft.Future { return n.raft.AddVoter(sid, addr, 0, untilDeadline(ctx)) })
	case isVoter:
		return n.changeConfig(ctx, "take vote", func() raft.Future { return n.raft.DemoteVoter(sid, 0, untilDeadline(ctx)) })
	}
	if err := n.changeConfig(ctx, "add non-voter", func() raft.Future { return n.raft.AddNonvoter(sid, addr, 0, untilDeadline(ctx)) }); err != nil || !voter {
		return err
	}
	if err := n.awaitCaughtUp(ctx, id, address); err != nil {
		return err
	}
	return n.changeConfig(ctx, "give vote", func() raft.Future { return n.raft.AddVoter(sid, addr, 0, untilDeadline(ctx)) })
}

// awaitCaughtUp waits until the node has applied what is applied here now.
func (n *Node) awaitCaughtUp(ctx context.Context, id, address string) error {
	goal := n.AppliedIndex()
	for {
		h, err := n.port.askHello(ctx, id, address)
		if err == nil && h.Applied >= goal {
			return nil
		}
		select {
		case <-time.After(pollHello):
		case <-n.stopped:
			return ErrShutdown
		case <-ctx.Done():
			awaited := fmt.Sprintf("member %s to reach index %d, it is at %d", id, goal, h.Applied)
			return errors.Join(timeoutError(ctx, awaited), err)
		}
	}
}

// RemoveMember removes a member. A leader that removes itself steps down.
// Leader only.
//
// # Errors
//
// ErrNotLeader, ErrUnknownMember, ErrTimeout, ErrLeadershipLost.
func (n *Node) RemoveMember(ctx context.Context, id string) error {
	if !n.IsLeader() {
		return ErrNotLeader
	}
	if _, ok := n.member(id); !ok {
		return fmt.Errorf("%w: %s", ErrUnknownMember, id)
	}
	return n.changeConfig(ctx, "remove", func() raft.Future { return n.raft.RemoveServer(raft.ServerID(id), 0, untilDeadline(ctx)) })
}

// untilDeadline is the time that a change may wait for its turn; zero is
// without end.
func untilDeadline(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Nanosecond)
}

func (n *Node) changeConfig(ctx context.Context, what string, start func() raft.Future) error {
	err := n.await(ctx, what, start)
	if err == nil {
		return nil
	}
	return fmt.Errorf("raftstore: %s: %w", what, n.readError(err))
}

// WaitMember returns when this node is part of the cluster's configuration.
func (n *Node) WaitMember(ctx context.Context) error {
	for {
		if _, ok := n.member(n.ID()); ok {
			return nil
		}
		select {
		case <-time.After(pollHello):
		case <-n.stopped:
			return ErrShutdown
		case <-ctx.Done():
			return timeoutError(ctx, fmt.Sprintf("node %s at %s to be added to a cluster", n.ID(), n.Address()))
		}
	}
}

// TransferLeadership hands leadership to a voter, or with an empty id to the
// one that is furthest. Leader only, for a node that is about to be stopped: a
// transfer that hangs for DrainTimeout calls Exit, because Raft may then refuse
// writes for ever (hashicorp/raft issue 696).
//
// # Errors
//
// ErrNotLeader, ErrUnknownMember, ErrTimeout, ErrAborted: leadership stayed
// here.
func (n *Node) TransferLeadership(ctx context.Context, toID string) error {
	if !n.IsLeader() {
		return ErrNotLeader
	}
	start := time.Now()
	var f raft.Future
	if toID == "" {
		f = n.raft.LeadershipTransfer()
	} else {
		to, ok := n.member(toID)
		if !ok || to.Suffrage != raft.Voter {
			return fmt.Errorf("%w: no voter %s", ErrUnknownMember, toID)
		}
		f = n.raft.LeadershipTransferToServer(to.ID, to.Address)
	}
	result := make(chan error, 1)
	go func() { result <- n.finishTransfer(f, start) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return timeoutError(ctx, "transfer of leadership")
	}
}

// finishTransfer waits for the end of a transfer whether or not the caller
// does, and sees to it that a failed one does not go on blocking writes.
func (n *Node) finishTransfer(f raft.Future, start time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), start.Add(n.cfg.DrainTimeout))
	defer cancel()
	err := n.await(ctx, "transfer of leadership", func() raft.Future { return f })
	hangs := errors.Is(err, ErrTimeout)
	if err != nil && !hangs && !errors.Is(err, ErrShutdown) {
		hangs = n.refusesWrites(ctx)
		err = fmt.Errorf("%w: transfer of leadership: %w", ErrAborted, err)
	}
	if hangs {
		n.exit(fmt.Sprintf("transfer of leadership has hung for %v: %v", n.cfg.DrainTimeout, err))
	}
	return err
}

// refusesWrites reports whether this leader still refuses entries on account of
// a transfer when ctx ends.
func (n *Node) refusesWrites(ctx context.Context) bool {
	for n.IsLeader() {
		err := n.await(ctx, "end of a failed transfer", n.barrier)
		if errors.Is(err, ErrTimeout) {
			return true
		}
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return false
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(pollHello):
		}
	}
	return false
}
