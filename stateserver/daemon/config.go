// Package daemon is one Holdfast node as a library: cmd/holdfastd is a command
// line around it, and tests run several in one process.
package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Config is everything a node can be told.
type Config struct {
	// DataDir holds the node's identity, log and snapshots. One node a
	// directory.
	DataDir string
	// Name is the node's name in InitialCluster and in what people read.
	Name string
	// Listen is where clients connect, host:port; port 0 takes a free one.
	Listen string
	// Advertise is the address told to clients; empty: the bound one.
	Advertise string
	// PeerListen is where other nodes connect, host:port.
	PeerListen string
	// PeerAdvertise is the address told to other nodes; empty: the bound one.
	PeerAdvertise string
	// InitialCluster names the first members, as name=host:port of their peer
	// addresses, joined by commas. Empty: a cluster of this node alone.
	InitialCluster string
	// Join makes a new data directory wait to be added to a cluster that runs.
	Join bool
	// InsecureListen allows addresses other than loopback for ports without TLS.
	InsecureListen bool
	// MetricsListen is where /metrics, /healthz and /readyz are served, host:port;
	// empty: nowhere.
	MetricsListen string
	// Pprof serves /debug/pprof/ there too.
	Pprof bool
	// TLS has the files that secure the ports.
	TLS config.TLS
	// AllowedRoots are URLs of the directories below which checkpoints and
	// savepoints may live.
	AllowedRoots []string
	// S3 says where s3:// is.
	S3 config.S3

	// HeartbeatInterval and SessionTimeout are told to operator processes.
	HeartbeatInterval, SessionTimeout time.Duration
	// ReconnectGrace is how long the process of a broken stream may take to
	// come back before its subtask is given away.
	ReconnectGrace time.Duration
	// StatusInterval is how often a host tells the leader of its streams.
	StatusInterval time.Duration
	// MaxStreams bounds the streams that clients have open on the node at a time.
	MaxStreams uint32

	// StateDir is where state backends have their directories, in holdfast-state;
	// empty: state in DataDir. What they have there is removed when the node starts.
	StateDir string
	// StateCacheBytes bounds the memory that each backend takes for its caches.
	StateCacheBytes int64
	// StateOption gives the backends what the configuration has for them; nil:
	// nothing.
	StateOption func(key string) string
	// Backends are the state backends that jobs may name beside memory. nil:
	// DefaultBackends.
	Backends *backend.Registry

	// MaxClusterVersion holds the cluster version down, so that a downgrade stays
	// possible; 0: the highest that the build supports.
	MaxClusterVersion uint64

	// Clock is read once, as the wall clock, for times that people are shown.
	// Default: time.Now.
	Clock func() time.Time

	// Raft holds the timeouts of the replicated log. DataDir, names and
	// addresses in it are set from the fields above.
	Raft raftstore.Config

	Logger *slog.Logger
}

// DefaultConfig returns a node for development: alone, on loopback. The
// defaults are those of docs/configuration.md.
func DefaultConfig() Config { return FromSettings(config.Default().Node) }

// FromConfig makes a Config of what a node was told in its file, its environment
// and its flags.
func FromConfig(c config.Config) Config {
	cfg := FromSettings(c.Node)
	cfg.AllowedRoots = c.AllowedRoots()
	return cfg
}

// FromSettings is FromConfig without what the configuration says of jobs: no
// directory is allowed.
func FromSettings(n config.Node) Config {
	rc := raftstore.DefaultConfig()
	rc.HeartbeatTimeout = n.Raft.HeartbeatTimeout
	// Zero for these two: raftstore derives them from the heartbeat timeout.
	rc.ElectionTimeout, rc.LeaderLease = n.Raft.ElectionTimeout, n.Raft.LeaderLease
	rc.SnapshotThreshold, rc.SnapshotInterval = n.Raft.SnapshotThreshold, n.Raft.SnapshotInterval
	rc.TrailingLogs = n.Raft.TrailingLogs
	rc.NoFsync = n.Debug.NoFsync
	rc.LogStoreDeadline, rc.PeerTimeout = n.Raft.LogStoreDeadline, n.Raft.PeerTimeout
	return Config{
		DataDir: n.DataDir, Name: n.Name, Listen: n.Listen, Advertise: n.Advertise,
		PeerListen: n.PeerListen, PeerAdvertise: n.PeerAdvertise,
		InitialCluster: n.InitialCluster, Join: n.Join, InsecureListen: n.InsecureListen, TLS: n.TLS,
		MetricsListen: n.MetricsListen, Pprof: n.Debug.Pprof,
		HeartbeatInterval: n.HeartbeatInterval, SessionTimeout: n.SessionTimeout,
		ReconnectGrace: n.ReconnectGrace, StatusInterval: 500 * time.Millisecond,
		StateDir: n.State.Directory, StateCacheBytes: int64(n.State.CacheSize), StateOption: stateOptions(n.State),
		MaxClusterVersion: n.MaxClusterVersion,
		MaxStreams:        n.MaxStreams,
		S3:                n.S3,
		Raft:              rc, Logger: slog.Default(),
	}
}

// settings is what config.CheckNode looks at.
func (c Config) settings() config.Node {
	return config.Node{
		DataDir: c.DataDir, Name: c.Name, Listen: c.Listen, Advertise: c.Advertise,
		PeerListen: c.PeerListen, PeerAdvertise: c.PeerAdvertise,
		InitialCluster: c.InitialCluster, Join: c.Join, InsecureListen: c.InsecureListen, TLS: c.TLS,
		MetricsListen:     c.MetricsListen,
		State:             c.stateSettings(),
		MaxClusterVersion: c.MaxClusterVersion,
		Storage:           config.Storage{AllowedRoots: strings.Join(c.AllowedRoots, ",")}, S3: c.S3,
		HeartbeatInterval: c.HeartbeatInterval, SessionTimeout: c.SessionTimeout, ReconnectGrace: c.ReconnectGrace, MaxStreams: c.MaxStreams,
		Raft: config.Raft{
			HeartbeatTimeout: c.Raft.HeartbeatTimeout, ElectionTimeout: c.Raft.ElectionTimeout, LeaderLease: c.Raft.LeaderLease,
		},
		Debug: config.Debug{Pprof: c.Pprof, NoFsync: c.Raft.NoFsync},
	}
}

// validate checks what can be checked before anything is opened, also for those
// who use this package without a file or flags.
func (c Config) validate() error {
	var errs []error
	for _, conflict := range config.CheckNode(c.settings()) {
		errs = append(errs, conflict)
	}
	if c.HeartbeatInterval <= 0 {
		errs = append(errs, errors.New("heartbeat-interval: it must be above 0"))
	}
	return errors.Join(errs...)
}

// versions are the cluster versions that the node says it supports.
func (c Config) versions() coordinator.Versions {
	v := coordinator.Supported()
	if c.MaxClusterVersion != 0 && c.MaxClusterVersion < uint64(v.Max) {
		v.Max = max(uint32(c.MaxClusterVersion), v.Min)
	}
	return v
}

// explain adds to an error of the start what the configuration has to do with
// it.
func (c Config) explain(err error) error {
	if errors.Is(err, raftstore.ErrClusterVersion) && c.versions() != coordinator.Supported() {
		return fmt.Errorf("max-cluster-version is %d, remove it if the build supports more: %w", c.MaxClusterVersion, err)
	}
	return err
}

// initialMembers parses InitialCluster, which validate has checked.
func (c Config) initialMembers() []raftstore.InitialMember {
	members, _ := c.settings().Members()
	var out []raftstore.InitialMember
	for _, m := range members {
		out = append(out, raftstore.InitialMember{Name: m.Name, Address: m.Address})
	}
	return out
}
