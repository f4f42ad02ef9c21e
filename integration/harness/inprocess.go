package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/internal/race"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

// Options shape a cluster. The zero value is three nodes.
type Options struct {
	Size int
	// TLS secures both ports of each node, with certificates on every side;
	// HOLDFAST_TEST_TLS does so for every cluster.
	TLS bool
	// Proxied puts a proxy before both ports of each node, so that links between
	// them can be cut and slowed.
	Proxied bool
	// DataDirs are data directories of nodes by index, if not the usual ones.
	DataDirs map[int]string
	// SessionTimeout is for processes; 0 is what users get.
	SessionTimeout time.Duration
	// SnapshotThreshold is for processes: entries after which a snapshot is
	// taken, looked at every second; 0 is what users get.
	SnapshotThreshold int
	// DataLimit is for processes: RLIMIT_DATA of each, in bytes; 0 is none.
	DataLimit uint64
	// Program is what processes run; "" is holdfastd.
	Program string
	// Env are more variables of processes, Flags more flags of them, and Roots more directories below which
	// checkpoints of theirs may go.
	Env, Flags, Roots []string
	// Tune changes the configuration of a node in process before each start;
	// processes run with the configuration that users get.
	Tune func(n Node, cfg *daemon.Config)
}

func (o Options) size() int {
	if o.Size == 0 {
		return 3
	}
	return o.Size
}

// The limits of nodes in process.
const (
	sessionTimeoutInProcess = 3 * time.Second
	raftTimeoutInProcess    = 50 * time.Millisecond
)

// InProcess starts a cluster whose nodes run in this process, with Raft
// timeouts of 50 ms and a session timeout of 3 s.
func InProcess(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := newCluster(t, o, func(c *Cluster) Backend {
		return &inProcess{t: t, dir: c.dir, security: c.security, tune: o.Tune, daemons: map[int]*running{}}
	})
	c.SessionTimeout, c.ElectionTimeout = sessionTimeoutInProcess, raftTimeoutInProcess
	return c
}

// inProcess runs nodes as daemons of this process.
type inProcess struct {
	t        testing.TB
	dir      string
	security *Security
	tune     func(Node, *daemon.Config)

	mu      sync.Mutex
	daemons map[int]*running
}

// running is a node and its log.
type running struct {
	*daemon.Daemon
	log *os.File
}

// Kind implements Backend.
func (*inProcess) Kind() string { return "in process" }

// Start implements Backend.
func (b *inProcess) Start(n Node, initialCluster string) error {
	log, err := os.OpenFile(filepath.Join(b.dir, n.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cfg := b.config(n, initialCluster, log)
	if b.tune != nil {
		b.tune(n, &cfg)
	}
	// The first start of a cluster waits for its members, so the limit is long.
	ctx, cancel := context.WithTimeout(context.Background(), Patience())
	defer cancel()
	d, err := daemon.Start(ctx, cfg)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if d.ClientAddress() != n.ClientAddress || d.PeerAddress() != n.PeerAdvertise {
		return fmt.Errorf("the node is at %s and %s, not at %s and %s", d.ClientAddress(), d.PeerAddress(), n.ClientAddress, n.PeerAdvertise)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.daemons[n.Index] = &running{d, log}
	return nil
}

func (b *inProcess) config(n Node, initialCluster string, log *os.File) daemon.Config {
	cfg := daemon.DefaultConfig()
	cfg.DataDir, cfg.Name, cfg.Listen, cfg.PeerListen = n.DataDir, n.Name, n.ListenAddress, n.PeerAddress
	cfg.Advertise, cfg.PeerAdvertise, cfg.InitialCluster, cfg.Join = n.ClientAddress, n.PeerAdvertise, initialCluster, n.Join
	cfg.MetricsListen = "127.0.0.1:0"
	cfg.AllowedRoots = []string{checkpointRoot(b.dir)}
	if b.security != nil {
		cfg.TLS = b.security.config(n.Name)
	}
	cfg.HeartbeatInterval, cfg.SessionTimeout = 200*time.Millisecond, sessionTimeoutInProcess
	cfg.ReconnectGrace, cfg.StatusInterval = 500*time.Millisecond, 50*time.Millisecond
	timeout := raftTimeoutInProcess
	if race.Enabled {
		timeout *= 2
	}
	cfg.Raft.HeartbeatTimeout, cfg.Raft.ElectionTimeout, cfg.Raft.LeaderLease = timeout, timeout, timeout
	// A node that is killed in process loses nothing that it wrote.
	cfg.Raft.NoFsync = true
	cfg.Raft.Exit = func(reason string) {
		stacks := filepath.Join(b.dir, n.Name+".goroutines")
		b.t.Errorf("node %s gave up: %s; goroutines are in %s (%v)", n.Name, reason, stacks, writeStacks(stacks))
	}
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return cfg
}

// writeStacks keeps what every goroutine does.
func writeStacks(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("goroutine").WriteTo(f, 2), f.Close())
}

// Kill implements Backend.
func (b *inProcess) Kill(nodes ...Node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		if d := b.take(n); d != nil {
			wg.Go(func() {
				d.Kill()
				_ = d.log.Close() // a log is read, never relied on
			})
		}
	}
	wg.Wait()
}

// Close implements Backend.
func (b *inProcess) Close(n Node) error {
	if d := b.take(n); d != nil {
		return errors.Join(d.Daemon.Close(), d.log.Close())
	}
	return nil
}

func (b *inProcess) take(n Node) *running {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.daemons[n.Index]
	delete(b.daemons, n.Index)
	return d
}

// Freeze implements Backend.
func (*inProcess) Freeze(Node) bool { return false }

// Thaw implements Backend.
func (*inProcess) Thaw(Node) {}
