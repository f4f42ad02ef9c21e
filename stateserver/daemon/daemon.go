package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/stateserver"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/schemes"
)

// drainTimeout bounds the wait for operator streams to leave a closing node.
const drainTimeout = 5 * time.Second

// Daemon is a running node.
type Daemon struct {
	cfg    Config
	store  *raftstore.Store
	server *stateserver.Server
	client net.Addr
	// metrics is nil where there is no port for them.
	metrics  *httpPort
	registry *prometheus.Registry
}

// daemonFile tells tools what runs on a data directory. It is not node.json, the
// identity that raftstore keeps there and must find again as it left it.
const daemonFile = "daemon.json"

// nodeFile is the content of daemonFile.
type nodeFile struct {
	NodeID        string `json:"node_id"`
	Name          string `json:"name"`
	PID           int    `json:"pid"`
	ClientAddress string `json:"client_address"`
	PeerAddress   string `json:"peer_address"`
	// MetricsAddress is empty where there is none.
	MetricsAddress string `json:"metrics_address,omitempty"`
}

// Start brings a node up: its ports are bound first, so that a taken one is told
// before the log is touched. It returns when the node belongs to a cluster
// and answers; a leader need not be known yet.
func Start(ctx context.Context, cfg Config) (*Daemon, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	storages, err := schemes.New(schemes.Config{AllowedRoots: cfg.AllowedRoots, S3: cfg.S3, NoFsync: cfg.Raft.NoFsync})
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, raftstore.ListenError("listen", cfg.Listen, err)
	}
	registry := newRegistry()
	metrics, err := listenHTTP(cfg, registry)
	if err != nil {
		return nil, errors.Join(err, lis.Close())
	}
	d, err := start(ctx, cfg, lis, metrics, registry, storages)
	if err != nil {
		metrics.close()
		if closed := lis.Close(); !errors.Is(closed, net.ErrClosed) { // the server may have closed it
			err = errors.Join(err, closed)
		}
		return nil, err
	}
	return d, nil
}

func start(ctx context.Context, cfg Config, lis net.Listener, metrics *httpPort, registry *prometheus.Registry, storages *storage.Registry) (*Daemon, error) {
	creds, err := clientCredentials(cfg)
	if err != nil {
		return nil, err
	}
	rc := cfg.Raft
	rc.PeerTLS = peerFiles(cfg.TLS.Peer)
	rc.DataDir, rc.NodeName, rc.InitialCluster = cfg.DataDir, cfg.Name, cfg.initialMembers()
	rc.Join = cfg.Join
	rc.PeerListen, rc.PeerAdvertise, rc.Logger = cfg.PeerListen, cfg.PeerAdvertise, cfg.Logger
	rc.Versions = cfg.versions()
	rc.Metrics = registry
	store, err := raftstore.OpenStore(ctx, rc)
	if err != nil {
		return nil, cfg.explain(err)
	}
	d := &Daemon{cfg: cfg, store: store, client: lis.Addr(), metrics: metrics, registry: registry}
	if cfg.Backends == nil {
		if cfg.Backends, err = DefaultBackends(); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	d.server, err = stateserver.New(store, stateserver.Config{
		ClientAddress: d.ClientAddress(), Credentials: creds, HeartbeatInterval: cfg.HeartbeatInterval, SessionTimeout: cfg.SessionTimeout,
		ReconnectGrace: cfg.ReconnectGrace, Clock: cfg.Clock, StatusInterval: cfg.StatusInterval, MaxStreams: cfg.MaxStreams, Logger: cfg.Logger,
		MetricsAddress: metrics.address(), Metrics: registry,
		Backends: cfg.Backends, StateDir: cfg.stateDir(), StateCacheBytes: cfg.StateCacheBytes, StateOption: cfg.StateOption, Storages: storages,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	d.server.Serve(lis)
	if metrics != nil {
		metrics.edge.Store(d.server)
	}
	if err := d.writeNodeFile(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// ClientAddress is the address told to clients.
func (d *Daemon) ClientAddress() string {
	if d.cfg.Advertise != "" {
		return d.cfg.Advertise
	}
	return d.client.String()
}

// PeerAddress is the address told to other nodes.
func (d *Daemon) PeerAddress() string { return d.store.Address() }

// MetricsAddress is where metrics and health are served; empty: nowhere.
func (d *Daemon) MetricsAddress() string { return d.metrics.address() }

// NodeID is the node's identity.
func (d *Daemon) NodeID() string { return d.store.ID() }

// IsLeader tells whether the node leads now.
func (d *Daemon) IsLeader() bool { return d.store.IsLeader() }

// Snapshot takes a snapshot of the log now.
func (d *Daemon) Snapshot() error { return d.store.Snapshot() }

// Close drains the node: leadership moves, then the operators do, then it stops.
// In this order the proposals of other nodes go to the next leader while this
// node still answers, and operators resume with a leader that stays.
func (d *Daemon) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if len(d.store.Members()) > 1 {
		d.store.HandOff(ctx)
		d.server.Drain(ctx)
	}
	d.server.Close()
	d.metrics.close()
	return d.store.Close()
}

// Kill stops the node at once, as a crash would, within the process.
func (d *Daemon) Kill() {
	d.store.Kill()
	d.server.Close()
	d.metrics.close()
}

func (d *Daemon) writeNodeFile() error {
	b, err := json.Marshal(nodeFile{
		NodeID: d.NodeID(), Name: d.cfg.Name, PID: os.Getpid(), ClientAddress: d.ClientAddress(), PeerAddress: d.PeerAddress(),
		MetricsAddress: d.MetricsAddress(),
	})
	if err != nil {
		return err
	}
	path := filepath.Join(d.cfg.DataDir, daemonFile)
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Run runs a node until ctx ends, then drains it.
func Run(ctx context.Context, cfg Config) error {
	d, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	membership := d.store.Membership()
	if membership != raftstore.WasRemoved { // the server says that it serves nobody
		cfg.Logger.Info("node is up", "name", cfg.Name, "node", d.NodeID(), "peer", d.PeerAddress(), "data_dir", cfg.DataDir)
	}
	if a := d.MetricsAddress(); a != "" {
		cfg.Logger.Info("metrics are at http://" + a + "/metrics")
	}
	if cfg.Raft.NoFsync {
		cfg.Logger.Warn("debug.no-fsync is set: what is acknowledged can be lost when the machine crashes; for tests and benchmarks only")
	}
	switch membership {
	case raftstore.IsWaiting:
		cfg.Logger.Info("this node waits to be added; on a member of the cluster: holdfast cluster add " + d.PeerAddress())
	case raftstore.IsMember:
		cfg.Logger.Info("connect with HOLDFAST_ADDRESS=" + d.ClientAddress())
	}
	<-ctx.Done()
	cfg.Logger.Info("draining")
	return d.Close()
}

// NewLogger makes the logger of a node.
func NewLogger(w *os.File, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("unknown log level %q: use debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("unknown log format %q: use text or json", format)
}
