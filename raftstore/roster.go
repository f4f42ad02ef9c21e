package raftstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Membership is what a node is to its cluster, as it knows itself.
type Membership int

// The kinds of Membership.
const (
	// IsMember: the newest configuration that the node knows has it.
	IsMember Membership = iota + 1
	// IsWaiting: it was started to join and has not been added yet.
	IsWaiting
	// WasRemoved: it was a member, and [Node.MarkRemoved] was called.
	WasRemoved
)

// Membership tells what this node is to its cluster.
func (n *Node) Membership() Membership {
	if n.self.record().Removed {
		return WasRemoved
	}
	if _, ok := n.member(n.ID()); !ok && n.cfg.Join {
		return IsWaiting
	}
	return IsMember
}

// MarkAdmitted writes down that this node was wholly a member at some time.
func (n *Node) MarkAdmitted() error {
	if n.Admitted() {
		return nil
	}
	return n.self.update(func(r *identityRecord) { r.Admitted = true })
}

// Admitted tells whether [Node.MarkAdmitted] was called, ever.
func (n *Node) Admitted() bool { return n.self.record().Admitted }

// MarkRemoved writes down that this node is no member any more. The caller has
// it from a leader that proved that it leads. There is no way back: the node
// refuses every peer, and its data directory serves no cluster again.
func (n *Node) MarkRemoved() error {
	return n.self.update(func(r *identityRecord) { r.Removed = true })
}

// Peer is what a node tells about itself at its peer port.
type Peer struct {
	ID, Name string
	// ClusterID is empty for a node that waits to be added.
	ClusterID string
}

// LookUp asks the node at a peer address who it is.
//
// # Errors
//
// ErrPeerUnreachable: nobody answers, or something that is no peer port.
// ErrRemoved: a node that was removed from its cluster answers.
func (n *Node) LookUp(ctx context.Context, address string) (Peer, error) {
	h, err := n.port.askHello(ctx, "", address)
	if err != nil {
		return Peer{}, asUnreachable(err)
	}
	return Peer{ID: h.NodeID, Name: h.Name, ClusterID: h.ClusterID}, nil
}

// asUnreachable adds ErrPeerUnreachable to an error of a dial, unless a node
// answered and said why not.
func asUnreachable(err error) error {
	for _, said := range []error{ErrRemoved, ErrWrongNode, ErrWrongCluster, ErrClusterVersion, ErrShutdown} {
		if errors.Is(err, said) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrPeerUnreachable, err)
}

// helloLimit bounds the question whether a member is there.
const helloLimit = time.Second

// Responding asks every member at its peer port and returns the ids of those
// that answer in a second, this node included.
func (n *Node) Responding(ctx context.Context) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	up := map[string]bool{n.ID(): true}
	for _, m := range n.Members() {
		if m.ID == n.ID() {
			continue
		}
		wg.Go(func() {
			if _, err := n.port.askHello(ctx, m.ID, m.Address); err == nil {
				mu.Lock()
				defer mu.Unlock()
				up[m.ID] = true
			}
		})
	}
	wg.Wait()
	return up
}

// Quorum counts voters: all of them, those that answer, and how many of the
// latter the cluster could lose and still commit; negative if it cannot now.
type Quorum struct {
	Voters, Up, Spare int
}

// quorumOf counts the voters among members.
func quorumOf(members []Member, up map[string]bool) Quorum {
	var q Quorum
	for _, m := range members {
		if m.Voter {
			q.Voters++
			if up[m.ID] {
				q.Up++
			}
		}
	}
	q.Spare = q.Up - (q.Voters/2 + 1)
	return q
}

// QuorumWithout tells what would be left of the voters without one member, and
// whether that member answers now.
func (n *Node) QuorumWithout(ctx context.Context, id string) (left Quorum, answers bool) {
	up := n.Responding(ctx)
	others := slices.DeleteFunc(n.Members(), func(m Member) bool { return m.ID == id })
	return quorumOf(others, up), up[id]
}

// FindMember finds a member by its id, or by its name as names has it.
//
// # Errors
//
// ErrUnknownMember, also where several have the name.
func (n *Node) FindMember(nameOrID string, names func(id string) string) (Member, error) {
	var found, all []string
	var member Member
	for _, m := range n.Members() {
		if known := names(m.ID); known != "" {
			m.Name = known
		}
		if m.ID == nameOrID {
			return m, nil
		}
		all = append(all, fmt.Sprintf("%s (%s)", m.Name, m.ID))
		if m.Name == nameOrID || m.Address == nameOrID {
			member, found = m, append(found, m.ID)
		}
	}
	switch len(found) {
	case 1:
		return member, nil
	case 0:
		return Member{}, fmt.Errorf("%w: %q; the members are %s", ErrUnknownMember, nameOrID, strings.Join(all, ", "))
	}
	return Member{}, fmt.Errorf("%w of its own: %q is the name of %s; name one by its id", ErrUnknownMember, nameOrID, strings.Join(found, " and "))
}
