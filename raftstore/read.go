package raftstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// pollApplied is how often a wait looks for what it is not told: entries of
// Raft's own at the end of the log, which the state machine never sees.
const pollApplied = 5 * time.Millisecond

// AppliedIndex returns the index of the last entry that has really been applied
// to the state machine, or that of the snapshot it was restored from. Entries
// that belong to Raft and change nothing are not counted at the end.
func (n *Node) AppliedIndex() uint64 {
	index, _ := n.shell.applied.get()
	return index
}

// WaitApplied returns when the state machine has seen everything up to index:
// one from [Future.Wait], from AppliedIndex on any node, or a commit index.
//
// # Errors
//
// ErrTimeout when ctx ends, ErrShutdown, ErrHalted.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	var poll *time.Ticker
	for {
		applied, changed := n.shell.applied.wait()
		if applied >= index || n.onlyInternalAfter(applied, index) {
			return nil
		}
		if n.shell.halted.Load() {
			return ErrHalted
		}
		if poll == nil {
			poll = time.NewTicker(pollApplied)
			defer poll.Stop()
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-n.stopped:
			return withClass(Unknown, ErrShutdown)
		case <-ctx.Done():
			return timeoutError(ctx, fmt.Sprintf("entry %d to be applied, %d is", index, applied))
		}
	}
}

// CatchUp returns when this node has applied what the leader had applied at some
// moment after the call. It waits for a leader.
//
// # Errors
//
// ErrTimeout when ctx ends, ErrShutdown, ErrHalted.
func (n *Node) CatchUp(ctx context.Context) error {
	for {
		err := n.catchUpOnce(ctx)
		if err == nil || errors.Is(err, ErrHalted) || errors.Is(err, ErrShutdown) {
			return err
		}
		select {
		case <-time.After(pollHello):
		case <-n.stopped:
			return withClass(Unknown, ErrShutdown)
		case <-ctx.Done():
			return errors.Join(timeoutError(ctx, "this node to catch up with the leader"), err)
		}
	}
}

func (n *Node) catchUpOnce(ctx context.Context) error {
	id, address, ok := n.Leader()
	switch {
	case !ok:
		return ErrNotLeader
	case id == n.ID():
		return n.Barrier(ctx)
	}
	h, err := n.port.askHello(ctx, id, address)
	if err != nil {
		return err
	}
	return n.WaitApplied(ctx, h.Applied)
}

// onlyInternalAfter reports whether the entries behind applied up to index are
// committed and none is still to come to the state machine.
func (n *Node) onlyInternalAfter(applied, index uint64) bool {
	if n.raft.AppliedIndex() < index {
		return false
	}
	// This ends at the first command, so a long backlog is not scanned.
	for i := applied + 1; i <= index; i++ {
		var l raft.Log
		err := n.log.GetLog(i, &l)
		switch {
		case err != nil && i <= n.snapshotIndex():
			// Cut from the log, because the snapshot that the state is from
			// covers it: its own index counts entries of Raft at the end.
		case err != nil, l.Type == raft.LogCommand, l.Type == raft.LogConfiguration:
			return false
		}
	}
	return true
}

// Barrier makes the next read of the local state machine linearizable: it
// returns when everything that was committed before the call has been applied
// here, and a majority confirmed after the call that this node leads.
//
// # Errors
//
// ErrNotLeader, ErrLeadershipLost, ErrTimeout, ErrShutdown, ErrHalted. Nothing
// is written for a read except once in a term, so any of them can be tried
// again.
func (n *Node) Barrier(ctx context.Context) error {
	if !n.IsLeader() {
		return ErrNotLeader
	}
	asked := time.Now()
	term := n.raft.CurrentTerm()
	if n.barrierTerm.Load() != term {
		// Until an entry of its own term is committed, a leader does not know
		// how far the log is committed.
		if err := n.await(ctx, "barrier", n.barrier); err != nil {
			return n.readError(err)
		}
		if n.raft.CurrentTerm() != term {
			return ErrLeadershipLost
		}
		n.barrierTerm.Store(term)
	}
	commit := n.raft.CommitIndex()
	if err := n.provesLeadership(ctx, term, asked); err != nil {
		return err
	}
	return n.WaitApplied(ctx, commit)
}

// confirmLeadership returns when a majority accepted a message of this leader
// and term that was sent at or after asked.
func (n *Node) confirmLeadership(ctx context.Context, term uint64, asked time.Time) error {
	for {
		// VerifyLeader sends heartbeats at once, and finds a newer leader.
		if err := n.await(ctx, "confirmation of leadership", n.raft.VerifyLeader); err != nil {
			return n.readError(err)
		}
		if n.raft.CurrentTerm() != term {
			return ErrLeadershipLost
		}
		ok, changed := n.transport.acks.majoritySince(n.servers(), n.raftID(), term, asked)
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(n.cfg.HeartbeatTimeout):
		case <-ctx.Done():
			return timeoutError(ctx, "confirmation of leadership")
		}
	}
}

func (n *Node) barrier() raft.Future { return n.raft.Barrier(0) }

// readError translates an error of await.
func (n *Node) readError(err error) error {
	if errors.Is(err, ErrTimeout) || errors.Is(err, ErrShutdown) {
		return err
	}
	return applyError(err)
}
