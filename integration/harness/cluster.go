package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/internal/testport"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Node is one member of a cluster. Its data directory, name and ports stay the
// same over restarts.
type Node struct {
	Index   int
	Name    string
	DataDir string
	// ClientAddress and PeerAdvertise are where operators and other nodes reach
	// it, proxies perhaps; ListenAddress and PeerAddress are its own ports.
	ClientAddress, ListenAddress string
	PeerAdvertise, PeerAddress   string
	// Join says that it was not among the first members.
	Join bool
}

// Backend is how nodes are run. Its methods are called by one goroutine.
type Backend interface {
	// Kind is "in process" or "processes".
	Kind() string
	// Start starts a node that does not run; it need not wait until it serves.
	Start(n Node, initialCluster string) error
	// Kill ends nodes without any chance to say goodbye, all of them before it
	// waits for the first.
	Kill(nodes ...Node)
	// Close ends nodes in order.
	Close(n Node) error
	// Freeze and Thaw stop and continue a node; false if that cannot be done.
	Freeze(n Node) bool
	Thaw(n Node)
}

// Cluster is a running cluster and the vocabulary of the scenarios. Methods
// that cannot do what they say end the test. Those that change the cluster
// are for the test's goroutine; the others may be called concurrently.
type Cluster struct {
	*members
	t testing.TB
}

// For is the cluster as a subtest sees it: what cannot be done ends that one.
func (c *Cluster) For(t testing.TB) *Cluster { return &Cluster{c.members, t} }

// members is what a cluster has, whichever test uses it.
type members struct {
	Backend Backend
	// SessionTimeout is how long the cluster waits for a silent operator.
	SessionTimeout time.Duration
	// ElectionTimeout is Raft's.
	ElectionTimeout time.Duration

	dir     string
	nodes   []Node
	initial string
	network *network // nil without Options.Proxied
	// security is nil without TLS.
	security *Security

	// mu guards what follows, and nodes, which grows.
	mu      sync.Mutex
	running []bool
	conns   []*grpc.ClientConn
	ids     map[string]int // index by node id
	// removed are the nodes that Remove took out; for the test's goroutine.
	removed map[int]bool
}

// portsOfNode are a node's: for clients and for peers. A proxied node has as many
// before them.
const portsOfNode = 2

func newCluster(t testing.TB, o Options, backend func(*Cluster) Backend) *Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-"+strings.Map(fileSafe, t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	size := o.size()
	addrs := testport.Free(t, portsOfNode*size)
	var proxies []string
	if o.Proxied {
		proxies = testport.Free(t, portsOfNode*size)
	}
	c := &Cluster{&members{dir: dir, running: make([]bool, size), conns: make([]*grpc.ClientConn, size), ids: map[string]int{}, removed: map[int]bool{}}, t}
	if o.Proxied {
		c.network = newNetwork()
	}
	var list []string
	for i := range size {
		n := Node{Index: i, Name: fmt.Sprintf("n%d", i+1), ListenAddress: addrs[portsOfNode*i], PeerAddress: addrs[portsOfNode*i+1]}
		n.DataDir, n.ClientAddress, n.PeerAdvertise = filepath.Join(dir, n.Name), n.ListenAddress, n.PeerAddress
		if dir := o.DataDirs[i]; dir != "" {
			n.DataDir = dir
		}
		if o.Proxied {
			n.PeerAdvertise, n.ClientAddress = proxies[portsOfNode*i], proxies[portsOfNode*i+1]
			c.network.add(t, n)
		}
		c.nodes = append(c.nodes, n)
		list = append(list, n.Name+"="+n.PeerAdvertise)
	}
	c.initial = strings.Join(list, ",")
	if o.TLS || AllTLS() {
		c.secure()
	}
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.Backend = backend(c)
	t.Cleanup(c.cleanup)
	c.StartAll()
	return c
}

func fileSafe(r rune) rune {
	if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return r
	}
	return '-'
}

func (c *Cluster) cleanup() {
	if c.network != nil {
		c.network.close()
	}
	c.KillAll()
	for i := range c.removed {
		c.Backend.Kill(c.nodes[i])
	}
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close() // its peers are gone
		}
	}
	for _, n := range c.nodes {
		reportCrash(c.t, "node "+n.Name, c.LogFile(n.Index))
	}
	if c.t.Failed() || KeepLogs() {
		c.t.Logf("data and logs of the nodes are kept in %s", c.dir)
		for _, n := range c.nodes {
			c.t.Logf("the end of %s:\n%s", c.LogFile(n.Index), tail(c.LogFile(n.Index), 25))
		}
		return
	}
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Errorf("remove the cluster's directory: %v", err)
	}
}

// tail returns the last lines of a file.
func tail(name string, lines int) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CheckpointDir is a directory for checkpoints, the same on every node, below a root
// that they allow.
func (c *Cluster) CheckpointDir(name string) string { return checkpointRoot(c.dir) + "/" + name }

// checkpointRoot is the root that nodes allow.
func checkpointRoot(dir string) string { return "file://" + filepath.Join(dir, "checkpoints") }

// Dir is the cluster's directory: data of the nodes, and their logs.
func (c *Cluster) Dir() string { return c.dir }

// LogFile is what a node logs to.
func (c *Cluster) LogFile(i int) string { return filepath.Join(c.dir, c.nodes[i].Name+".log") }

// Size is the number of members, running or not.
func (c *Cluster) Size() int { return len(c.all()) }

// Node is the i-th member, from 0.
func (c *Cluster) Node(i int) Node { return c.all()[i] }

// all are the nodes, those that were removed too.
func (c *Cluster) all() []Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes
}

// Addresses are the client addresses of all members, first those named.
func (c *Cluster) Addresses(first ...int) []string {
	var out []string
	for _, i := range first {
		out = append(out, c.Node(i).ClientAddress)
	}
	for _, n := range c.all() {
		if !slices.Contains(first, n.Index) {
			out = append(out, n.ClientAddress)
		}
	}
	return out
}

// IndexOfAddress finds a member by its client address, -1 if there is none.
func (c *Cluster) IndexOfAddress(addr string) int {
	return slices.IndexFunc(c.all(), func(n Node) bool { return n.ClientAddress == addr })
}

// Running tells whether a node was started and not killed since.
func (c *Cluster) Running(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[i]
}

// RunningNodes are the indexes of the nodes that run.
func (c *Cluster) RunningNodes() []int {
	var out []int
	for i := range c.all() {
		if c.Running(i) {
			out = append(out, i)
		}
	}
	return out
}

func (c *Cluster) setRunning(i int, r bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[i] = r
}

// Start starts a node on its old directory and ports.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	if c.Running(i) {
		c.t.Fatalf("node %s runs already", c.nodes[i].Name)
	}
	if err := c.Backend.Start(c.nodes[i], c.initialFor(c.nodes[i])); err != nil {
		c.t.Fatalf("start node %s: %v", c.nodes[i].Name, err)
	}
	c.setRunning(i, true)
}

// StartAll starts every node that does not run and waits for a leader that all
// of them know.
func (c *Cluster) StartAll() {
	c.t.Helper()
	// In parallel: the first start of a cluster waits for the others.
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		if !c.Running(i) && !c.removed[n.Index] {
			wg.Go(func() { errs[i] = c.Backend.Start(n, c.initialFor(n)) })
			c.setRunning(i, true)
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatalf("start the cluster: %v", err)
	}
	c.WaitForAllToKnow()
}

// Kill ends a node with SIGKILL, or what comes nearest to it in process.
func (c *Cluster) Kill(i int) {
	c.Backend.Kill(c.nodes[i])
	c.setRunning(i, false)
}

// Stop ends a node in order, as an upgrade would.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	c.setRunning(i, false)
	if err := c.Backend.Close(c.nodes[i]); err != nil {
		c.t.Errorf("stop node %s: %v", c.nodes[i].Name, err)
	}
}

// KillAll kills every node that runs, at once.
func (c *Cluster) KillAll() {
	var nodes []Node
	for _, i := range c.RunningNodes() {
		nodes = append(nodes, c.nodes[i])
		c.setRunning(i, false)
	}
	c.Backend.Kill(nodes...)
}

// Restart kills a node and starts it again.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.Kill(i)
	c.Start(i)
}

// Conn is a connection to one node, past its proxy. It is the cluster's to close.
func (c *Cluster) Conn(i int) *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[i] == nil {
		conn, err := Dial(c.nodes[i].ListenAddress)
		if err != nil {
			c.t.Errorf("dial %s: %v", c.nodes[i].Name, err)
		}
		c.conns[i] = conn
	}
	return c.conns[i]
}

// Dial connects to a node, with backoff short enough for tests.
func Dial(addr string) (*grpc.ClientConn, error) {
	creds, err := credentialsFor(addr)
	if err != nil {
		return nil, err
	}
	return dial(addr, creds)
}

func dial(addr string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}))
}

// Leadership is who leads, in which term.
type Leadership struct {
	Node
	Term uint64
}

// LeaderNow asks every running node and returns the one that says it leads, in
// the highest term.
func (c *Cluster) LeaderNow() (Leadership, error) {
	best := Leadership{}
	var why []error
	for _, i := range c.RunningNodes() {
		d, err := c.describe(i)
		if err != nil {
			why = append(why, fmt.Errorf("%s: %w", c.Node(i).Name, err))
			continue
		}
		if d.LeaderId == d.NodeId && d.Term > best.Term {
			best = Leadership{c.Node(i), d.Term}
		}
	}
	if best.Term == 0 {
		return best, errors.Join(append(why, errors.New("no node says that it leads"))...)
	}
	return best, nil
}

func (c *Cluster) describe(i int) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d, err := holdfastv1.NewClusterServiceClient(c.Conn(i)).Describe(ctx, &holdfastv1.ClusterServiceDescribeRequest{})
	if err == nil {
		c.mu.Lock()
		c.ids[d.NodeId] = i
		c.mu.Unlock()
	}
	return d, err
}

// Term is the term that a node is in.
func (c *Cluster) Term(i int) (uint64, error) {
	d, err := c.describe(i)
	return d.GetTerm(), err
}

// Leader waits until a node leads.
func (c *Cluster) Leader() Leadership {
	c.t.Helper()
	var l Leadership
	Until(c.t, "a leader", func() (err error) {
		l, err = c.LeaderNow()
		return err
	})
	return l
}

// Followers are the indexes of the running nodes other than the leader.
func (c *Cluster) Followers() []int {
	c.t.Helper()
	leader := c.Leader().Index
	return slices.DeleteFunc(c.RunningNodes(), func(i int) bool { return i == leader })
}

// WaitForNewLeader waits for a leader in a later term than old's.
func (c *Cluster) WaitForNewLeader(old Leadership) Leadership {
	c.t.Helper()
	var l Leadership
	Until(c.t, fmt.Sprintf("a new leader after %s in term %d", old.Name, old.Term), func() (err error) {
		l, err = c.LeaderNow()
		if err == nil && l.Term <= old.Term {
			err = fmt.Errorf("%s leads in term %d", l.Name, l.Term)
		}
		return err
	})
	return l
}

// WaitForAllToKnow waits until every running node names the same leader.
func (c *Cluster) WaitForAllToKnow() {
	c.t.Helper()
	Until(c.t, "a leader that every running node knows", func() error {
		leader := ""
		for _, i := range c.RunningNodes() {
			d, err := c.describe(i)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", c.nodes[i].Name, err)
			case d.LeaderId == "" || leader != "" && d.LeaderId != leader:
				return fmt.Errorf("%s names the leader %q, another one %q", c.nodes[i].Name, d.LeaderId, leader)
			}
			leader = d.LeaderId
		}
		return nil
	})
}

// WaitCaughtUp waits until a node has applied what is committed now.
func (c *Cluster) WaitCaughtUp(i int) {
	c.t.Helper()
	target := uint64(0)
	Until(c.t, "the leader's applied index", func() error {
		d, err := c.describe(c.Leader().Index)
		target = d.GetAppliedIndex()
		return err
	})
	Until(c.t, fmt.Sprintf("%s to apply index %d", c.nodes[i].Name, target), func() error {
		d, err := c.describe(i)
		if err == nil && d.AppliedIndex < target {
			err = fmt.Errorf("applied %d", d.AppliedIndex)
		}
		return err
	})
}

// Until is the function of that name, for the test that the cluster belongs to.
func (c *Cluster) Until(what string, f func() error) {
	c.t.Helper()
	Until(c.t, what, f)
}

// NodeIndex finds a member by its node id. Every running node must have been
// seen, which Leader and WaitForAllToKnow do.
func (c *Cluster) NodeIndex(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.ids[id]; ok {
		return i
	}
	return -1
}

// Freeze stops a node with SIGSTOP; false where nodes cannot be stopped.
func (c *Cluster) Freeze(i int) bool { return c.Backend.Freeze(c.nodes[i]) }

// Thaw continues a node that was stopped.
func (c *Cluster) Thaw(i int) { c.Backend.Thaw(c.nodes[i]) }
