package raftstore

import (
	"context"
	"errors"
	"net"
	"time"
)

var errTODO = errors.New("raftstore: not built yet")

// Node is one member of the Raft group. All methods are safe for concurrent
// use.
type Node struct{}

// Open starts the node on its data directory.
func Open(ctx context.Context, cfg Config, sm StateMachine) (*Node, error) { return nil, errTODO }

// Close stops the node in order.
func (n *Node) Close() error { return errTODO }

// Kill stops the node at once.
func (n *Node) Kill() {}

// ID returns the random identity.
func (n *Node) ID() string { return "" }

// Name returns the configured name.
func (n *Node) Name() string { return "" }

// Address returns the advertised peer address.
func (n *Node) Address() string { return "" }

// ClusterID returns the id of the cluster.
func (n *Node) ClusterID() string { return "" }

// MaxPayload bounds the payload of one command, in bytes.
const MaxPayload = 256 << 10

// Future is the outcome of one proposal.
type Future interface {
	// Wait returns the result of the state machine and the index of the entry.
	Wait(ctx context.Context) (result any, index uint64, err error)
	// Done is closed when the outcome is known.
	Done() <-chan struct{}
}

// Propose hands a command to the log.
func (n *Node) Propose(ctx context.Context, cmdType uint32, payload []byte) Future { return nil }

// Leader returns the leader this node knows of.
func (n *Node) Leader() (id, address string, ok bool) { return "", "", false }

// IsLeader reports whether this node leads.
func (n *Node) IsLeader() bool { return false }

// Term returns the current term.
func (n *Node) Term() uint64 { return 0 }

// LeaderChanges notifies of each change.
func (n *Node) LeaderChanges() (changes <-chan struct{}, cancel func()) { return nil, nil }

// Barrier makes a linearizable read possible.
func (n *Node) Barrier(ctx context.Context) error { return errTODO }

// AppliedIndex returns the index of the last applied entry.
func (n *Node) AppliedIndex() uint64 { return 0 }

// WaitApplied waits for an index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error { return errTODO }

// Member is one member of the cluster.
type Member struct {
	ID      string
	Name    string
	Address string
	Voter   bool
}

// Members returns the members.
func (n *Node) Members() []Member { return nil }

// AddMember adds a member.
func (n *Node) AddMember(ctx context.Context, id, address string, voter bool) error { return errTODO }

// RemoveMember removes a member.
func (n *Node) RemoveMember(ctx context.Context, id string) error { return errTODO }

// TransferLeadership hands leadership to a member.
func (n *Node) TransferLeadership(ctx context.Context, toID string) error { return errTODO }

// WaitMember waits until this node is a member.
func (n *Node) WaitMember(ctx context.Context) error { return errTODO }

// Stats is a snapshot of the node's counters.
type Stats struct {
	State         string
	Term          uint64
	LastIndex     uint64
	CommitIndex   uint64
	AppliedIndex  uint64
	SnapshotIndex uint64
	LastContact   time.Duration
	Pending       int
	PendingBytes  int64
}

// Stats returns the counters.
func (n *Node) Stats() Stats { return Stats{} }

// PeerListener accepts connections of kind rpc.
func (n *Node) PeerListener() net.Listener { return nil }

// DialPeer opens a connection of kind rpc to a member.
func (n *Node) DialPeer(ctx context.Context, id string) (net.Conn, error) { return nil, errTODO }

// Snapshot forces a snapshot.
func (n *Node) Snapshot() error { return errTODO }
