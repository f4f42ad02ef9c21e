package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Node is one member of the Raft group. All methods are safe for concurrent
// use. After [Node.Close] they return ErrShutdown or zero values.
type Node struct {
	cfg    Config
	logger *slog.Logger

	dir       *dataDir
	self      *identity
	port      *peerPort
	store     *logStore
	log       raft.LogStore // store behind a cache
	transport *transport
	shell     *shell
	raft      *raft.Raft
	snaps     raft.SnapshotStore
	proposals *proposer
	changes   broadcast
	metrics   *metrics

	barrierTerm atomic.Uint64 // term in which a barrier was applied
	exitOnce    sync.Once
	stopOnce    sync.Once
	stopErr     error
	stopped     chan struct{}
}

// retainedSnapshots is the number kept on disk.
const retainedSnapshots = 2

// logCacheEntries is the number of newest entries kept in memory for followers.
const logCacheEntries = 256

// Open starts the node on its data directory and returns when it takes part in
// its cluster as far as it can alone: with InitialCluster it first waits until
// all first members have been met, or ctx ends. A node that joins is returned
// at once, so that its ID can be told to the leader; see [Node.WaitMember].
//
// # Errors
//
// ErrDataDirLocked, ErrDataDirFormat, ErrDataDirCorrupt, ErrWrongCluster,
// ErrInitialClusterMismatch, ErrNotMember, ErrBadSnapshot, ErrTimeout,
// ErrClusterVersion.
func Open(ctx context.Context, cfg Config, sm StateMachine) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, logger: cfg.Logger.With("component", "raftstore"), metrics: newMetrics(), stopped: make(chan struct{})}
	n.shell = &shell{sm: sm, metrics: n.metrics, clusterID: func() string { return n.ClusterID() }, logger: n.logger, exit: n.exit,
		saveVersion: func(v uint32) error { return n.self.noteClusterVersion(v) }}
	if err := n.open(ctx); err != nil {
		_ = n.release()
		return nil, err
	}
	if err := register(cfg.Metrics, append(n.metrics.all, nodeCollector{n})...); err != nil {
		return nil, errors.Join(fmt.Errorf("raftstore: register metrics: %w", err), n.Close())
	}
	n.warnOfAddress()
	if n.Membership() == WasRemoved {
		// Whoever serves on it says what it is; up it is not.
		return n, nil
	}
	n.logger.Info("node is up", "node", n.ID(), "name", n.Name(), "cluster", n.ClusterID(), "peers", n.Address())
	return n, nil
}

// warnOfAddress says when the others look for this node somewhere else.
func (n *Node) warnOfAddress() {
	if m, ok := n.member(n.ID()); ok && string(m.Address) != n.Address() {
		n.logger.Warn("the cluster knows this node by another address: add it again on the leader with the new one",
			"known", m.Address, "advertised", n.Address())
	}
}

// open starts the parts in order.
func (n *Node) open(ctx context.Context) (err error) {
	if n.dir, err = openDataDir(n.cfg.DataDir); err != nil {
		return err
	}
	if n.self, err = newIdentity(n.dir, n.cfg); err != nil {
		return err
	}
	if n.store, err = openLogStore(n.dir.file(storeFile), n.cfg, n.exit); err != nil {
		return err
	}
	n.store.metrics = n.metrics
	if err := n.store.checkStamp(n.self); err != nil {
		return err
	}
	if n.log, err = raft.NewLogCache(logCacheEntries, n.store); err != nil {
		return fmt.Errorf("raftstore: make log cache: %w", err)
	}
	if n.port, err = listenPeers(n.cfg, n.self, n.AppliedIndex, n.exit); err != nil {
		return err
	}
	if err := n.ensureCluster(ctx); err != nil {
		return err
	}
	return n.startRaft()
}

func (n *Node) startRaft() error {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(n.dir.path, retainedSnapshots, newHclog(n.logger))
	if err != nil {
		return fmt.Errorf("raftstore: open snapshots in %s: %w", n.dir.file(snapshotsDir), err)
	}
	n.snaps, n.transport = snaps, newTransport(n.port, n.cfg)
	rc := n.cfg.raftConfig(n.ID())
	if err := n.ensureBootstrap(rc, snaps); err != nil {
		return fmt.Errorf("raftstore: bootstrap: %w", err)
	}
	if n.raft, err = newRaft(rc, n.shell, n.log, n.store, snaps, n.transport); err != nil {
		if n.shell.unsupported != nil {
			return n.shell.unsupported
		}
		return damaged(explainStart(n.dir.path, n.ClusterID(), n.shell.refused, err))
	}
	n.shell.running.Store(true)
	n.changes.observe(n.raft, n.metrics.sawLeader)
	go n.watchLeader()
	n.proposals = newProposer(n.cfg, n.metrics, func(data []byte) raft.ApplyFuture { return n.raft.Apply(data, 0) })
	return nil
}

// newRaft turns the library's panic about a log with a hole into an error. The
// hole is there when the newest snapshot is refused and the log does not reach
// back to the one before.
func newRaft(rc *raft.Config, fsm raft.FSM, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, trans raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("the log does not follow on a usable snapshot: %v", p)
		}
	}()
	r, err = raft.NewRaft(rc, fsm, logs, stable, snaps, trans)
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	return r, nil
}

// exit calls Config.Exit once.
func (n *Node) exit(reason string) { n.exitOnce.Do(func() { n.cfg.Exit(reason) }) }

// Close stops the node in order: no new proposals, leadership to another voter,
// open proposals settled, Raft stopped, files closed. A step that hangs for
// DrainTimeout calls Exit. Further calls return the same.
func (n *Node) Close() error {
	n.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTimeout)
		defer cancel()
		n.HandOff(ctx)
		n.proposals.drain(ctx)
		n.stopErr = n.stop()
	})
	return n.stopErr
}

// HandOff gives leadership away if this node has it and there is somebody to take
// it, as [Node.Close] does. A node that first has other things to stop calls it
// before them, so that nothing waits for a leader that is going.
func (n *Node) HandOff(ctx context.Context) {
	voters := 0
	for _, m := range n.Members() {
		if m.Voter {
			voters++
		}
	}
	if !n.IsLeader() || voters < 2 || n.shell.halted.Load() {
		return
	}
	if err := n.TransferLeadership(ctx, ""); err != nil && !errors.Is(err, ErrNotLeader) {
		n.logger.Warn("leadership was not handed over, the others must elect", "err", err)
	}
}

// Kill stops the node at once, as near to the end of its process as one process
// can come: connections are cut, leadership is not handed over, open proposals
// end as unknown. It is for tests.
func (n *Node) Kill() {
	n.stopOnce.Do(func() {
		n.port.close()
		n.stopErr = n.stop()
	})
}

// stop ends everything that open started, in reverse.
func (n *Node) stop() error {
	close(n.stopped)
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.raft.Shutdown().Error() }()
	select {
	case err := <-done:
		n.proposals.abandon()
		return errors.Join(err, n.release())
	case <-ctx.Done():
		n.proposals.abandon()
		n.exit(fmt.Sprintf("stopping has hung for %v", n.cfg.DrainTimeout))
		// The files are still in use: keep the directory locked.
		n.port.close()
		return fmt.Errorf("%w: stopping hangs", ErrTimeout)
	}
}

// release closes what is open, also after a start that failed half way.
func (n *Node) release() error {
	var errs []error
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.port != nil {
		n.port.close()
	}
	if n.store != nil {
		errs = append(errs, n.store.close())
	}
	if n.dir != nil {
		errs = append(errs, n.dir.close())
	}
	return errors.Join(errs...)
}

// ID returns the random identity of this node, 32 hex digits.
func (n *Node) ID() string { return n.self.nodeID() }

// Name returns the configured name, or one made from the id.
func (n *Node) Name() string { return n.self.name }

// Address returns the advertised peer address.
func (n *Node) Address() string { return n.port.addr.String() }

// ClusterID returns the id of the cluster, 32 hex digits, or an empty string
// for a node that has not been added to one yet.
func (n *Node) ClusterID() string { return n.self.clusterID() }

// PeerListener returns the listener for connections of kind rpc on the peer
// port, for the services between nodes. Each has passed the handshake, which
// proves nothing about who dialed. Closing it does not close the port.
func (n *Node) PeerListener() net.Listener { return n.port.rpc }

// DialPeer opens a connection of kind rpc to the member with this id, which may
// be this node.
//
// # Errors
//
// ErrUnknownMember, ErrWrongNode, ErrWrongCluster, ErrShutdown, or what the
// network says.
func (n *Node) DialPeer(ctx context.Context, id string) (net.Conn, error) {
	m, ok := n.member(id)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownMember, id)
	}
	conn, _, err := n.port.dial(ctx, kindRPC, id, string(m.Address))
	return conn, err
}

// Snapshot takes a snapshot now and cuts the log behind it. A node that has
// applied nothing yet has nothing to do.
func (n *Node) Snapshot() error {
	err := n.await(context.Background(), "snapshot", func() raft.Future { return n.raft.Snapshot() })
	if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return fmt.Errorf("raftstore: take snapshot: %w", err)
}
