package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/await"
	"github.com/holdfast-io/holdfast/internal/testport"
)

// patience is how long a test waits for something before it fails.
const patience = 30 * time.Second

// Command types of the toy machine.
const (
	toyAppend  = 1
	toyUnknown = 99
)

// toyMachine is a list of payloads.
type toyMachine struct {
	mu       sync.Mutex
	items    []string
	restores int
	hold     chan struct{} // View.Write waits for it if set
	gate     chan struct{} // ApplyBatch waits for it if set
}

type toyView struct {
	items []string
	hold  chan struct{}
}

var errToyUnknown = errors.New("toy: unknown command")

func (m *toyMachine) ApplyBatch(entries []Entry) ([]any, error) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []any
	for _, e := range entries {
		if e.Type != toyAppend {
			return nil, fmt.Errorf("%w: type %d", errToyUnknown, e.Type)
		}
		m.items = append(m.items, string(e.Payload))
		out = append(out, len(m.items))
	}
	return out, nil
}

// toyRaise is the item that raises the cluster version by one.
const toyRaise = "raise the version"

// ClusterVersion implements Versioned.
func (m *toyMachine) ClusterVersion() uint32 {
	v := coordinator.FirstVersion
	for _, item := range m.list() {
		if item == toyRaise {
			v++
		}
	}
	return v
}

func (m *toyMachine) Snapshot() (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &toyView{items: m.items[:len(m.items):len(m.items)], hold: m.hold}, nil
}

func (v *toyView) Write(w io.Writer) error {
	if v.hold != nil {
		<-v.hold
	}
	for _, s := range v.items {
		if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s)))); err != nil {
			return err
		}
		if _, err := io.WriteString(w, s); err != nil {
			return err
		}
	}
	return nil
}

func (v *toyView) Release() {}

func (m *toyMachine) Restore(r io.Reader) error {
	var items []string
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		items = append(items, string(b))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items = items
	m.restores++
	return nil
}

func (m *toyMachine) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.items)
}

func (m *toyMachine) restored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restores
}

// testNode is a node with what it was started with.
type testNode struct {
	*Node
	t     *testing.T
	cfg   Config
	sm    *toyMachine
	exits chan string
}

func testLogger() *slog.Logger {
	if os.Getenv("HOLDFAST_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testConfig has timeouts of 50 ms and no fsync.
func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.PeerListen = testport.Free(t, 1)[0]
	cfg.HeartbeatTimeout = 50 * time.Millisecond
	cfg.ElectionTimeout = 50 * time.Millisecond
	cfg.LeaderLease = 50 * time.Millisecond
	cfg.NoFsync = true
	cfg.Logger = testLogger()
	return cfg
}

// newTestNode prepares a node without starting it.
func newTestNode(t *testing.T, cfg Config) *testNode {
	tn := &testNode{t: t, cfg: cfg, exits: make(chan string, 8)}
	tn.cfg.Exit = func(reason string) { tn.exits <- reason }
	t.Cleanup(func() {
		if tn.Node != nil {
			tn.Kill()
		}
	})
	return tn
}

// tryStart opens the node on its directory with a new state machine.
func (tn *testNode) tryStart(ctx context.Context) error {
	tn.sm = &toyMachine{}
	n, err := Open(ctx, tn.cfg, tn.sm)
	if err != nil {
		return err
	}
	tn.Node = n
	return nil
}

func (tn *testNode) mustStart() {
	tn.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tn.tryStart(ctx); err != nil {
		tn.t.Fatalf("start %s: %v", tn.cfg.NodeName, err)
	}
}

// mustExit waits for the node to call Exit.
func (tn *testNode) mustExit() string {
	tn.t.Helper()
	select {
	case reason := <-tn.exits:
		return reason
	case <-time.After(patience):
		tn.t.Fatalf("%s did not call Exit", tn.cfg.NodeName)
		return ""
	}
}

func startSingle(t *testing.T) *testNode {
	t.Helper()
	tn := newTestNode(t, testConfig(t))
	tn.mustStart()
	return tn
}

// testCluster is a set of nodes that were started together.
type testCluster struct {
	t     *testing.T
	nodes []*testNode
}

// newTestCluster prepares n nodes that name each other, without starting them.
func newTestCluster(t *testing.T, n int, change func(*Config)) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	var members []InitialMember
	for i := range n {
		cfg := testConfig(t)
		cfg.NodeName = fmt.Sprintf("n%d", i+1)
		if change != nil {
			change(&cfg)
		}
		members = append(members, InitialMember{Name: cfg.NodeName, Address: cfg.PeerListen})
		c.nodes = append(c.nodes, newTestNode(t, cfg))
	}
	for _, tn := range c.nodes {
		tn.cfg.InitialCluster = members
	}
	return c
}

func startCluster(t *testing.T, n int, change func(*Config)) *testCluster {
	t.Helper()
	c := newTestCluster(t, n, change)
	c.mustStartAll()
	return c
}

func (c *testCluster) mustStartAll() {
	c.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, tn := range c.nodes {
		wg.Go(func() { errs[i] = tn.tryStart(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatal(err)
	}
}

// waitFor polls until cond holds.
func waitFor(t *testing.T, awaited string, cond func() bool) {
	t.Helper()
	await.Until(t, patience, awaited, cond)
}

// waitLeader returns a node among the given that proved it leads.
func waitLeader(t *testing.T, nodes ...*testNode) *testNode {
	t.Helper()
	var leader *testNode
	waitFor(t, "a leader", func() bool {
		for _, tn := range nodes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := tn.Barrier(ctx)
			cancel()
			if err == nil {
				leader = tn
				return true
			}
		}
		return false
	})
	return leader
}

func (c *testCluster) leader() *testNode { return waitLeader(c.t, c.nodes...) }

func (c *testCluster) without(out *testNode) []*testNode {
	var rest []*testNode
	for _, tn := range c.nodes {
		if tn != out {
			rest = append(rest, tn)
		}
	}
	return rest
}

// mustAppend proposes an item to whoever leads, until the outcome is final. The
// item can be there twice when an outcome was unknown.
func mustAppend(t *testing.T, item string, nodes ...*testNode) uint64 {
	t.Helper()
	var index uint64
	waitFor(t, "the append of "+item, func() bool {
		leader := waitLeader(t, nodes...)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, i, err := leader.Propose(ctx, toyAppend, []byte(item)).Wait(ctx)
		index = i
		return err == nil
	})
	return index
}

// mustChange runs a change of the members on whoever leads, again when
// leadership moved in between. Changes may be repeated.
func mustChange(t *testing.T, nodes []*testNode, change func(leader *testNode) error) {
	t.Helper()
	waitFor(t, "a change of the members", func() bool {
		err := change(waitLeader(t, nodes...))
		if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrLeadershipLost) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	})
}

// mustHold waits until the node's state holds all items.
func (tn *testNode) mustHold(items ...string) {
	tn.t.Helper()
	waitFor(tn.t, fmt.Sprintf("%s to hold %d items", tn.Name(), len(items)), func() bool {
		have := tn.sm.list()
		for _, item := range items {
			if !slices.Contains(have, item) {
				return false
			}
		}
		return true
	})
}
