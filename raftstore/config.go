package raftstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// InitialMember is one node of the first configuration of a cluster.
type InitialMember struct {
	// Name is the NodeName of the member, unique in the list.
	Name string
	// Address is its advertised peer address, host:port.
	Address string
}

// Config is the configuration of a [Node]. Start from [DefaultConfig]; a zero
// duration or count is replaced by its default.
type Config struct {
	// DataDir holds identity, log and snapshots. It is made if it is missing.
	DataDir string
	// NodeName is a label for people. With InitialCluster it must be a name of
	// the list.
	NodeName string
	// PeerListen is the host:port for connections of other nodes. Port 0 takes
	// a free one.
	PeerListen string
	// PeerAdvertise is the host:port under which others reach this node.
	// Default: the address of this node in InitialCluster, else the bound
	// address if it is not that of all interfaces.
	PeerAdvertise string
	// PeerTLS has the files that secure connections between nodes, all three of
	// them, or none: then there is no TLS. The certificate must be for
	// <NodeName>.node.holdfast, for both ends.
	PeerTLS tlsfiles.Files
	// InitialCluster lists all first members, this node included, in any order
	// and the same on each. Empty: a new data directory becomes a cluster of
	// one. It is not looked at once the node belongs to a cluster.
	InitialCluster []InitialMember
	// Join makes a new data directory wait to be added by [Node.AddMember] on
	// the leader of an existing cluster. Not together with InitialCluster.
	Join bool

	// HeartbeatTimeout is how long a follower waits for the leader before it
	// asks for an election (randomized up to twice the value).
	HeartbeatTimeout time.Duration
	// ElectionTimeout is how long a candidate waits for votes; at least
	// HeartbeatTimeout.
	ElectionTimeout time.Duration
	// LeaderLease is how long a leader without contact to a majority goes on;
	// at most HeartbeatTimeout.
	LeaderLease time.Duration
	// CommitTimeout is how soon followers learn of a commit when nothing new is
	// proposed.
	CommitTimeout time.Duration
	// LogStoreDeadline bounds one operation on the log store. A slower one
	// calls Exit: a leader whose disk hangs must not go on leading.
	LogStoreDeadline time.Duration
	// PeerTimeout bounds dialing, the handshake and one message to a peer.
	PeerTimeout time.Duration
	// DrainTimeout bounds each step of [Node.Close]; a step that hangs calls
	// Exit.
	DrainTimeout time.Duration

	// SnapshotThreshold is the number of entries after which a snapshot is
	// taken.
	SnapshotThreshold uint64
	// SnapshotInterval is how often the threshold is checked.
	SnapshotInterval time.Duration
	// TrailingLogs is the number of entries kept behind a snapshot, so that a
	// follower that is a little behind needs no snapshot.
	TrailingLogs uint64

	// MaxPending bounds the undecided proposals of this node by number, and
	// MaxPendingBytes by the sum of their payloads.
	MaxPending      int
	MaxPendingBytes int64

	// Versions are the cluster versions that this node says it supports. Default:
	// those of the build; a lower maximum keeps the cluster's version down.
	Versions coordinator.Versions

	// NoFsync skips fsync of the log. A crash of the machine then loses
	// acknowledged entries: for tests and benchmarks only.
	NoFsync bool
	// StoreHook, for tests, is called at the start of each log store operation
	// with its name, inside the watched time: one that blocks is a hung disk.
	StoreHook func(op string)

	// Metrics is the registry of the node's metrics, one a node. Default: they
	// are counted and shown to nobody.
	Metrics prometheus.Registerer
	// Logger receives everything this node logs. Default: discard.
	Logger *slog.Logger
	// Exit is what a node does that must not go on: a hung disk, a failed
	// checksum, a state machine that reports a broken invariant. It is called
	// at most once. Default: log the reason and end the process with status 70.
	// If it returns, the node stays up but applies nothing any more.
	Exit func(reason string)
}

// exitStatus is EX_SOFTWARE of sysexits.h.
const exitStatus = 70

// DefaultConfig returns the defaults of every field that has one. They are
// chosen for a killed leader to be replaced within half a second at the median
// and two seconds at worst; DESIGN.md has the measurements.
func DefaultConfig() Config {
	return Config{
		PeerListen:        "127.0.0.1:0",
		HeartbeatTimeout:  300 * time.Millisecond,
		ElectionTimeout:   300 * time.Millisecond,
		LeaderLease:       300 * time.Millisecond,
		CommitTimeout:     5 * time.Millisecond,
		LogStoreDeadline:  5 * time.Second,
		PeerTimeout:       2 * time.Second,
		DrainTimeout:      10 * time.Second,
		SnapshotThreshold: 8192,
		SnapshotInterval:  10 * time.Second,
		TrailingLogs:      1024,
		MaxPending:        4096,
		MaxPendingBytes:   64 << 20,
		Versions:          coordinator.Supported(),
		Logger:            slog.New(slog.DiscardHandler),
	}
}

// withDefaults fills the zero fields from DefaultConfig.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	setDefault(&c.PeerListen, d.PeerListen)
	setDefault(&c.HeartbeatTimeout, d.HeartbeatTimeout)
	setDefault(&c.ElectionTimeout, max(d.ElectionTimeout, c.HeartbeatTimeout))
	setDefault(&c.LeaderLease, min(d.LeaderLease, c.HeartbeatTimeout))
	setDefault(&c.CommitTimeout, d.CommitTimeout)
	setDefault(&c.LogStoreDeadline, d.LogStoreDeadline)
	setDefault(&c.PeerTimeout, d.PeerTimeout)
	setDefault(&c.DrainTimeout, d.DrainTimeout)
	setDefault(&c.SnapshotThreshold, d.SnapshotThreshold)
	setDefault(&c.SnapshotInterval, d.SnapshotInterval)
	setDefault(&c.TrailingLogs, d.TrailingLogs)
	setDefault(&c.MaxPending, d.MaxPending)
	setDefault(&c.MaxPendingBytes, d.MaxPendingBytes)
	setDefault(&c.Versions, d.Versions)
	setDefault(&c.Logger, d.Logger)
	setDefault(&c.PeerAdvertise, c.listedAddress())
	if c.Exit == nil {
		logger := c.Logger
		c.Exit = func(reason string) {
			logger.Error("node must not go on", "reason", reason)
			os.Exit(exitStatus)
		}
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports everything that is wrong, not only the first thing.
func (c Config) validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("DataDir is empty"))
	}
	if c.LeaderLease > c.HeartbeatTimeout {
		errs = append(errs, fmt.Errorf("LeaderLease %v exceeds HeartbeatTimeout %v", c.LeaderLease, c.HeartbeatTimeout))
	}
	if c.ElectionTimeout < c.HeartbeatTimeout {
		errs = append(errs, fmt.Errorf("ElectionTimeout %v is below HeartbeatTimeout %v", c.ElectionTimeout, c.HeartbeatTimeout))
	}
	if c.Join && len(c.InitialCluster) > 0 {
		errs = append(errs, errors.New("fields Join and InitialCluster exclude each other"))
	}
	if len(c.InitialCluster) > maxInitialMembers {
		errs = append(errs, fmt.Errorf("InitialCluster has %d members, at most %d are allowed", len(c.InitialCluster), maxInitialMembers))
	}
	errs = append(errs, c.validateInitialCluster()...)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("raftstore: invalid configuration: %w", errors.Join(errs...))
}

// maxInitialMembers keeps a hello message small. Raft groups of more voters
// than this only get slower.
const maxInitialMembers = 15

// listedAddress is the address of this node in InitialCluster.
func (c Config) listedAddress() string {
	for _, m := range c.InitialCluster {
		if m.Name == c.NodeName {
			return m.Address
		}
	}
	return ""
}

func (c Config) validateInitialCluster() []error {
	if len(c.InitialCluster) == 0 {
		return nil
	}
	var errs []error
	names, addresses := map[string]bool{}, map[string]bool{}
	for _, m := range c.InitialCluster {
		if m.Name == "" || m.Address == "" || strings.ContainsAny(m.Name+m.Address, "=,@ \n") || len(m.Name)+len(m.Address) > 256 {
			errs = append(errs, fmt.Errorf("InitialCluster member %q at %q: name and address must be set, short and free of '=', ',', '@' and spaces", m.Name, m.Address))
		}
		if names[m.Name] || addresses[m.Address] {
			errs = append(errs, fmt.Errorf("InitialCluster member %q at %q is there twice", m.Name, m.Address))
		}
		names[m.Name], addresses[m.Address] = true, true
	}
	if listed := c.listedAddress(); listed != "" && listed != c.PeerAdvertise {
		errs = append(errs, fmt.Errorf("PeerAdvertise %s is not the address of %s in InitialCluster, %s", c.PeerAdvertise, c.NodeName, listed))
	}
	if !names[c.NodeName] {
		errs = append(errs, fmt.Errorf("NodeName %q is not in InitialCluster %s", c.NodeName, canonicalList(c.InitialCluster)))
	}
	return errs
}

// raftConfig translates into the configuration of the Raft library.
func (c Config) raftConfig(id string) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(id)
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.LeaderLease
	rc.CommitTimeout = c.CommitTimeout
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.PreVoteDisabled = false
	// A removed node stays up as a follower without a vote, so that its other
	// services can say what happened.
	rc.ShutdownOnRemove = false
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.SnapshotInterval = c.SnapshotInterval
	rc.TrailingLogs = c.TrailingLogs
	rc.NoLegacyTelemetry = true
	rc.Logger = newHclog(c.Logger.With("component", "raft"))
	return rc
}

// maxAppendEntries bounds one append message and one batch for the state
// machine: with commands of full size that is 16 MiB.
const maxAppendEntries = 64
