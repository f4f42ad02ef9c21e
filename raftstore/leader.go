package raftstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// Leader returns the leader as this node knows it, which may be out of date by
// one election.
func (n *Node) Leader() (id, address string, ok bool) {
	addr, lid := n.raft.LeaderWithID()
	return string(lid), string(addr), lid != ""
}

// IsLeader reports whether this node believes it leads. Only [Node.Barrier]
// proves it.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Term returns the current Raft term of this node.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// LeaderChanges returns a channel that holds one value after any change of the
// leader seen by this node, winning and losing leadership included. Values do
// not pile up: after receiving, look at [Node.Leader] and [Node.IsLeader] for
// what is so now. The channel holds a value at first. cancel ends the
// notifications; it may be called more than once.
func (n *Node) LeaderChanges() (changes <-chan struct{}, cancel func()) {
	return n.changes.subscribe()
}

// broadcast wakes subscribers without ever blocking.
type broadcast struct {
	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

func (b *broadcast) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan struct{}]struct{}{}
	}
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, ch)
	}
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// observe passes Raft's observations on, and each leader to sawLeader. It uses the filter as a callback, which
// Raft calls for every observation: its channels may drop one.
func (b *broadcast) observe(r *raft.Raft, sawLeader func(raft.ServerID)) {
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		switch seen := o.Data.(type) {
		case raft.LeaderObservation:
			sawLeader(seen.LeaderID)
			b.notify()
		case raft.RaftState:
			b.notify()
		}
		return false
	}))
}

// await starts an operation of Raft and waits for it. Neither the start, while
// the main loop is busy, nor the Error method of the future knows a context.
func (n *Node) await(ctx context.Context, awaited string, start func() raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- start().Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return timeoutError(ctx, awaited)
	case <-n.stopped:
		return fmt.Errorf("%w: %s", withClass(Unknown, ErrShutdown), awaited)
	}
}
