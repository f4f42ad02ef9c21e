// Package nodes runs the nodes of a cluster as processes of this machine, all
// in one directory: cluster.json (names, addresses, pids), <name>/ (data) and
// logs/<name>.log. The directory is the truth; any number of programs may work
// with it.
package nodes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// MaxNodes is bounded by the ports that --base-port lays out.
const MaxNodes = 9

// stopGrace is how long a node may take to drain.
const stopGrace = 15 * time.Second

// Cluster is the nodes of one directory. Safe for concurrent use.
type Cluster struct {
	dir string
	// Bound makes the nodes die with this process; see procs.Spec.
	Bound bool
	// Flags are given to each node that is started, beside its own.
	Flags []string

	mu     sync.Mutex
	nodes  []Node
	tlsDir string
	// children are those that this process started: it reaps them.
	children map[string]*procs.Process
}

// Open reads the cluster in dir. An *exit.Error with code NotFound says that
// there is none.
func Open(dir string) (*Cluster, error) {
	c, err := at(dir)
	if err != nil {
		return nil, err
	}
	return c, c.load()
}

// Create lays out a cluster of n nodes in dir, or opens the one that is there.
// With basePort 0 free ports are chosen; they stay the same afterwards. With a
// tlsDir all ports have TLS.
func Create(dir string, n, basePort int, tlsDir string) (*Cluster, error) {
	if n < 1 || n > MaxNodes {
		return nil, exit.Errorf(exit.Usage, "a local cluster has 1 to %d nodes, not %d", MaxNodes, n)
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, err
	}
	c, err := at(dir)
	if err != nil {
		return nil, err
	}
	if tlsDir != "" {
		if tlsDir, err = checkTLSDir(tlsDir, n); err != nil {
			return nil, err
		}
	}
	if err := c.layOut(n, basePort, tlsDir); err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	if tlsDir != "" && tlsDir != c.tlsDir {
		return nil, exit.Errorf(exit.Usage, "the cluster in %s was not made with --tls-dir %s", c.dir, tlsDir)
	}
	return c, nil
}

func at(dir string) (*Cluster, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// One spelling, because processes are known by their data directory.
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	return &Cluster{dir: abs, children: map[string]*procs.Process{}}, nil
}

// layOut writes the first cluster.json. A link, not a rename, puts it in
// place: of two that start at the same time one wins.
func (c *Cluster) layOut(n, basePort int, tlsDir string) error {
	path := filepath.Join(c.dir, fileName)
	if _, err := os.Stat(path); err == nil {
		return c.sameShape(n)
	}
	client, peer, err := addresses(n, basePort)
	if err != nil {
		return exit.Errorf(exit.Refused, "%w", err)
	}
	fresh := &Cluster{dir: c.dir, tlsDir: tlsDir}
	for i := range n {
		fresh.nodes = append(fresh.nodes, Node{Name: fmt.Sprintf("n%d", i+1), ClientAddress: client[i], PeerAddress: peer[i]})
	}
	return c.place(fresh, n)
}

func (c *Cluster) place(fresh *Cluster, n int) error {
	tmp, err := os.MkdirTemp(c.dir, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // an empty directory at worst
	fresh.dir = tmp
	if err := fresh.save(); err != nil {
		return err
	}
	err = os.Link(filepath.Join(tmp, fileName), filepath.Join(c.dir, fileName))
	if errors.Is(err, os.ErrExist) {
		return c.sameShape(n)
	}
	return err
}

func (c *Cluster) sameShape(n int) error {
	if err := c.load(); err != nil {
		return err
	}
	if len(c.nodes) != n {
		return exit.Errorf(exit.Usage, "the cluster in %s has %d nodes, not %d", c.dir, len(c.nodes), n)
	}
	return nil
}

// Dir is the cluster's directory, absolute.
func (c *Cluster) Dir() string { return c.dir }

// Nodes are the nodes as the file has them.
func (c *Cluster) Nodes() []Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Node(nil), c.nodes...)
}

// Addresses are the client addresses of all nodes.
func (c *Cluster) Addresses() []string {
	var out []string
	for _, n := range c.Nodes() {
		out = append(out, n.ClientAddress)
	}
	return out
}

// Running reports whether the process that was started last is there.
func (n Node) Running() bool { return procs.Is(n.Pid, n.DataDir()) }

// Kill ends one node with SIGKILL and tells its pid.
func (c *Cluster) Kill(name string) (Node, error) {
	var killed Node
	err := c.locked(func() error {
		n, err := c.find(name)
		if err != nil {
			return err
		}
		killed = *n
		if err := procs.Signal(n.Pid, n.DataDir(), syscall.SIGKILL); err != nil {
			if errors.Is(err, procs.ErrNotOurs) {
				return exit.Errorf(exit.Refused, "node %s does not run", n.Name)
			}
			return err
		}
		n.Pid = 0
		return nil
	})
	if err != nil {
		return killed, err
	}
	return killed, procs.WaitGone(killed.Pid, killed.DataDir(), stopGrace)
}

// Stop ends every node: with SIGTERM and, after a while or if hard, SIGKILL.
// It tells those that ran.
func (c *Cluster) Stop(hard bool) ([]Node, error) {
	var stopped []Node
	err := c.locked(func() error {
		errs := make([]error, len(c.nodes))
		var wg sync.WaitGroup
		for i := range c.nodes {
			n := &c.nodes[i]
			if n.Running() {
				stopped = append(stopped, *n)
			}
			wg.Go(bug.Guarded(func() {
				if errs[i] = procs.End(n.Pid, n.DataDir(), hard, stopGrace); errs[i] == nil {
					n.Pid = 0
				}
			}))
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	return stopped, err
}

// initialCluster is the value of --initial-cluster, the same for every node.
func (c *Cluster) initialCluster() string {
	var parts []string
	for _, n := range c.nodes {
		if !n.Joined {
			parts = append(parts, n.Name+"="+n.PeerAddress)
		}
	}
	return strings.Join(parts, ",")
}
