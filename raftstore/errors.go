package raftstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
)

// Class says what an error means for the command that was proposed.
type Class int

const (
	// Unknown: the command may or may not have been applied, or may yet be.
	// Send it again with the same id. It is the zero value because it is the
	// only safe guess.
	Unknown Class = iota
	// NotApplied: the command did not enter the log and never will by itself.
	NotApplied
	// Final: the command was applied and its result is the answer.
	Final
)

// String returns the name of the class as the documentation writes it.
func (c Class) String() string {
	switch c {
	case NotApplied:
		return "not applied"
	case Final:
		return "final"
	default:
		return "unknown"
	}
}

// Errors of a proposal. Match them with errors.Is, and ask [Outcome] for the
// class: ErrShutdown alone can be of two classes.
var (
	// ErrNotLeader: this node does not lead (not applied). See [Node.Leader].
	ErrNotLeader = errors.New("raftstore: node is not the leader")
	// ErrCommandTooLarge: the payload exceeds [MaxPayload] (not applied).
	ErrCommandTooLarge = errors.New("raftstore: command is too large")
	// ErrInvalidCommand: the command type is zero (not applied).
	ErrInvalidCommand = errors.New("raftstore: command type must not be zero")
	// ErrOverloaded: too many proposals are undecided (not applied).
	ErrOverloaded = errors.New("raftstore: too many undecided proposals")
	// ErrShutdown: the node is closing. Not applied when the proposal was still
	// in the node's own queue, unknown afterwards.
	ErrShutdown = errors.New("raftstore: node is shut down")
	// ErrLeadershipLost: leadership ended before the entry was known to be
	// committed (unknown).
	ErrLeadershipLost = errors.New("raftstore: leadership lost while committing")
	// ErrTimeout: the context ended before the outcome was known (unknown).
	ErrTimeout = errors.New("raftstore: timed out waiting for the outcome")
	// ErrAborted: Raft gave the entry up for another reason (unknown).
	ErrAborted = errors.New("raftstore: proposal aborted")
	// ErrHalted: the node stopped applying entries because going on was not
	// safe (unknown). The reason went to Config.Exit.
	ErrHalted = errors.New("raftstore: node is halted")
)

// Errors of a data directory and of joining a cluster.
var (
	// ErrDataDirLocked: another process uses the data directory.
	ErrDataDirLocked = errors.New("raftstore: data directory is in use by another process")
	// ErrDataDirFormat: the directory was written by a newer version, or is not
	// a data directory at all.
	ErrDataDirFormat = errors.New("raftstore: data directory format is not supported")
	// ErrDataDirCorrupt: the directory cannot be used as it is.
	ErrDataDirCorrupt = errors.New("raftstore: data directory is damaged")
	// ErrWrongCluster: the peer, data directory or snapshot belongs to another
	// cluster.
	ErrWrongCluster = errors.New("raftstore: belongs to another cluster")
	// ErrWrongNode: another node than the expected one answers at an address. A
	// wiped node at an old address is a new member.
	ErrWrongNode = errors.New("raftstore: another node answers at this address")
	// ErrInitialClusterMismatch: two nodes were started with different lists of
	// initial members.
	ErrInitialClusterMismatch = errors.New("raftstore: initial member lists disagree")
	// ErrNotMember: the cluster exists already and this node is not part of it.
	ErrNotMember = errors.New("raftstore: node is not a member of the cluster")
	// ErrClusterVersion: this node, or one that is to be added, does not support
	// the version that the cluster has committed.
	ErrClusterVersion = coordinator.ErrClusterVersion
	// ErrRemoved: the node was removed from its cluster and cannot come back with
	// this data directory.
	ErrRemoved = errors.New("raftstore: node was removed from the cluster")
	// ErrPeerUnreachable: nobody answers at a peer address, or no Holdfast node.
	ErrPeerUnreachable = errors.New("raftstore: no node answers at this peer address")
	// ErrDirNotEmpty: a snapshot is restored into a new directory only.
	ErrDirNotEmpty = errors.New("raftstore: data directory is not empty")
	// ErrUnknownMember: no member has this id.
	ErrUnknownMember = errors.New("raftstore: no such member")
	// ErrBadSnapshot: a snapshot is damaged, cut short or of an unknown format.
	ErrBadSnapshot = errors.New("raftstore: snapshot is damaged")
	// ErrBadCommand: an entry of the log has no valid envelope.
	ErrBadCommand = errors.New("raftstore: log entry is damaged")
	// ErrHandshake: a peer connection did not begin as it must.
	ErrHandshake = errors.New("raftstore: bad handshake")
	// ErrWrongCertificate: a certificate is not that of the node that shows it.
	ErrWrongCertificate = errors.New("raftstore: wrong certificate")
)

// newMember is the remedy for a data directory that cannot be used any more.
const newMember = "if other members have the data, remove this one, empty the directory and add it as a new member; else put back a copy of the directory"

// damaged makes an ErrDataDirCorrupt of what was found, with the remedy.
func damaged(found error) error {
	return fmt.Errorf("%w: %w: %s", ErrDataDirCorrupt, found, newMember)
}

// classified carries the class beside the error for those sentinels that do
// not determine it.
type classified struct {
	class Class
	err   error
}

func (c *classified) Error() string { return c.err.Error() }
func (c *classified) Unwrap() error { return c.err }

// withClass wraps err so that Outcome reports class.
func withClass(class Class, err error) error { return &classified{class: class, err: err} }

// Outcome reports what err, as returned by [Future.Wait] or [Node.Barrier],
// means for the command. A nil error is final. An error that this package does
// not know is Unknown.
func Outcome(err error) Class {
	if err == nil {
		return Final
	}
	var c *classified
	if errors.As(err, &c) {
		return c.class
	}
	for _, s := range []error{ErrNotLeader, ErrCommandTooLarge, ErrInvalidCommand, ErrOverloaded} {
		if errors.Is(err, s) {
			return NotApplied
		}
	}
	return Unknown
}

// timeoutError says what was awaited when ctx ended. It matches ErrTimeout and
// the error of the context.
func timeoutError(ctx context.Context, awaited string) error {
	return fmt.Errorf("%w: %s: %w", ErrTimeout, awaited, context.Cause(ctx))
}
