package raftstore

import (
	"strconv"
	"time"
)

// Stats describes a node at one moment. The fields are read one after the
// other, not under one lock.
type Stats struct {
	// State is Follower, Candidate, Leader or Shutdown.
	State string
	Term  uint64
	// LastIndex is the end of the log on this node, committed or not.
	LastIndex uint64
	// CommitIndex is how far this node knows the log to be committed.
	CommitIndex uint64
	// AppliedIndex is what [Node.AppliedIndex] returns.
	AppliedIndex uint64
	// SnapshotIndex is the index of the newest snapshot, zero if there is none.
	SnapshotIndex uint64
	// SinceContact is the time since the leader was last heard of; zero on the
	// leader, negative if never.
	SinceContact time.Duration
	// Pending and PendingBytes are the undecided proposals of this node.
	Pending      int
	PendingBytes int64
	// Halted says that the node applies nothing any more.
	Halted bool
}

// Stats returns the state of the node.
func (n *Node) Stats() Stats {
	s := Stats{
		State:         n.raft.State().String(),
		Term:          n.raft.CurrentTerm(),
		LastIndex:     n.raft.LastIndex(),
		CommitIndex:   n.raft.CommitIndex(),
		AppliedIndex:  n.AppliedIndex(),
		SnapshotIndex: n.snapshotIndex(),
		Halted:        n.shell.halted.Load(),
	}
	s.Pending, s.PendingBytes = n.proposals.size()
	switch last := n.raft.LastContact(); {
	case n.IsLeader():
	case last.IsZero():
		s.SinceContact = -1
	default:
		s.SinceContact = time.Since(last)
	}
	return s
}

// snapshotIndex is the index of the newest snapshot, which Raft tells only as
// text.
func (n *Node) snapshotIndex() uint64 {
	index, _ := strconv.ParseUint(n.raft.Stats()["last_snapshot_index"], 10, 64)
	return index
}
