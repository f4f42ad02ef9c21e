package raftstore

import "io"

// Entry is one committed command as the state machine sees it. The envelope
// is already checked and stripped.
type Entry struct {
	// Index is the position in the Raft log. It rises, with gaps: entries that
	// belong to Raft itself are not shown.
	Index uint64
	// Term is the Raft term in which the entry was proposed.
	Term uint64
	// Type says which command Payload is. Zero is never used.
	Type uint32
	// Payload is the command, at most [MaxPayload] bytes. It must not be
	// changed or kept after ApplyBatch returns without a copy.
	Payload []byte
}

// StateMachine is what the log is applied to. ApplyBatch, Snapshot and Restore
// are called from one goroutine at a time; only [View.Write] runs beside them.
type StateMachine interface {
	// ApplyBatch applies entries in order and returns one result for each,
	// which [Future.Wait] hands to the proposer on the leader.
	//
	// # Consistency
	//
	// It is deterministic: the same entries give the same state and the same
	// results on every node. No clock, no randomness, no map order, no I/O.
	//
	// # Errors
	//
	// A command that cannot be carried out is a result, never a panic. An error
	// return halts the node: it is for an unknown command type or a broken
	// invariant, where going on would make this copy differ from the others.
	ApplyBatch(entries []Entry) ([]any, error)

	// Snapshot captures an immutable view of the state.
	//
	// # Consistency
	//
	// The view holds what was applied when Snapshot was called, however long it
	// lives. Snapshot takes O(key groups) time, since nothing is applied
	// meanwhile; the bytes are written later by [View.Write].
	//
	// # Errors
	//
	// An error skips this snapshot; the log is kept and the next one is tried.
	Snapshot() (View, error)

	// Restore replaces the state by the one in the stream, which is what an
	// earlier [View.Write] produced.
	//
	// # Consistency
	//
	// It builds the new state aside and swaps it in last, after r returned
	// io.EOF: r returns another error in its place when the stream is cut short
	// or damaged.
	//
	// # Errors
	//
	// On any error the old state stays as it was.
	Restore(r io.Reader) error
}

// Versioned is a state machine whose state says which cluster version was
// committed. The node keeps the highest on disk and tells it to its peers.
type Versioned interface {
	// ClusterVersion is the version as of the entries applied so far. It never
	// falls.
	ClusterVersion() uint32
}

// View is an immutable picture of the state, taken by [StateMachine.Snapshot].
type View interface {
	// Write streams the view. It runs concurrently with ApplyBatch. The bytes
	// are the state machine's own format; header and checksum are added around
	// them. An error abandons the snapshot.
	Write(w io.Writer) error
	// Release is called exactly once, whether or not Write was called.
	Release()
}
