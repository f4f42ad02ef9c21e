package raftstore

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ackClock remembers for each peer the newest send time of a message that the
// peer accepted from this node as leader of a term.
//
// Raft's own VerifyLeader counts any answer that arrives after the question,
// also one that was sent before it: a leader that was stopped for a while finds
// such answers in its socket buffers and would believe it still leads. Counting
// by send time closes that.
type ackClock struct {
	mu      sync.Mutex
	acks    map[raft.ServerID]ack
	changed chan struct{}
}

type ack struct {
	term uint64
	sent time.Time
}

func newAckClock() *ackClock {
	return &ackClock{acks: map[raft.ServerID]ack{}, changed: make(chan struct{})}
}

func (c *ackClock) record(id raft.ServerID, term uint64, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.acks[id]
	if term < old.term || term == old.term && !sent.After(old.sent) {
		return
	}
	c.acks[id] = ack{term: term, sent: sent}
	close(c.changed)
	c.changed = make(chan struct{})
}

// last returns when the newest message that the peer accepted was sent.
func (c *ackClock) last(id raft.ServerID) (sent time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.acks[id]
	return a.sent, ok
}

// majoritySince reports whether a majority of the voters, counting self,
// accepted a message of the term that was sent at or after t. changed is closed
// at the next ack.
func (c *ackClock) majoritySince(servers []raft.Server, self raft.ServerID, term uint64, t time.Time) (ok bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	voters, have := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		a := c.acks[s.ID]
		if s.ID == self || a.term == term && !a.sent.Before(t) {
			have++
		}
	}
	return have > voters/2, c.changed
}
