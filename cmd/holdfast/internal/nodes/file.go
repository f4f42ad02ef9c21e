package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// fileName is where a cluster's directory says what belongs to it.
const fileName = "cluster.json"

// fileVersion rises when an older program would misread the file: 2 has TLS,
// without which its nodes would not find each other.
const fileVersion = 2

type file struct {
	Version int    `json:"version"`
	TLSDir  string `json:"tls_dir,omitempty"`
	Nodes   []Node `json:"nodes"`
}

// Node is one node of a local cluster.
type Node struct {
	Name          string `json:"name"`
	ClientAddress string `json:"client_address"`
	PeerAddress   string `json:"peer_address"`
	// Joined says that the node was added later: it is not among the first members.
	Joined bool `json:"joined,omitempty"`
	// Pid of the process that was started last; 0 if it was ended since.
	Pid int `json:"pid"`

	dir string
}

// DataDir is the node's --data-dir, absolute. It is also the argument by which
// the node's process is known.
func (n Node) DataDir() string { return filepath.Join(n.dir, n.Name) }

// Log is the file with the node's stderr.
func (n Node) Log() string { return filepath.Join(n.dir, "logs", n.Name+".log") }

func (c *Cluster) load() error {
	raw, err := os.ReadFile(filepath.Join(c.dir, fileName))
	if errors.Is(err, os.ErrNotExist) {
		return exit.Errorf(exit.NotFound, "no cluster in %s; `holdfast cluster start --dir %s` makes one", c.dir, c.dir)
	}
	if err != nil {
		return err
	}
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%s is damaged: %w", filepath.Join(c.dir, fileName), err)
	}
	if f.Version < 1 || f.Version > fileVersion {
		return fmt.Errorf("%s has version %d; this program knows 1 to %d", filepath.Join(c.dir, fileName), f.Version, fileVersion)
	}
	if err := f.check(); err != nil {
		return fmt.Errorf("%s is damaged: %w", filepath.Join(c.dir, fileName), err)
	}
	for i := range f.Nodes {
		f.Nodes[i].dir = c.dir
	}
	c.nodes, c.tlsDir = f.Nodes, f.TLSDir
	return nil
}

// check refuses what no program writes: data would be looked for elsewhere than
// below the directory, and signals would go to whole groups of processes.
func (f file) check() error {
	seen := map[string]bool{}
	for _, n := range f.Nodes {
		switch {
		case n.Name == "" || n.Name != filepath.Base(n.Name) || n.Name == "." || n.Name == "..":
			return fmt.Errorf("%q is no name of a node", n.Name)
		case seen[n.Name]:
			return fmt.Errorf("two nodes have the name %q", n.Name)
		case n.Pid < 0:
			return fmt.Errorf("node %q has the process id %d", n.Name, n.Pid)
		}
		seen[n.Name] = true
	}
	return nil
}

// save replaces the file in one step, so that a reader sees the old or the new one.
func (c *Cluster) save() error {
	f := file{Version: 1, Nodes: c.nodes, TLSDir: c.tlsDir}
	if f.TLSDir != "" {
		f.Version = fileVersion
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, fileName)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// locked runs f with the file as it is now and writes it back. Other processes
// that do so with the same directory wait.
func (c *Cluster) locked(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lock, err := os.OpenFile(filepath.Join(c.dir, "cluster.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := c.load(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return errors.Join(err, c.save())
	}
	return c.save()
}

// find takes n1 or 1.
func (c *Cluster) find(name string) (*Node, error) {
	var names []string
	for i := range c.nodes {
		if n := &c.nodes[i]; n.Name == name || n.Name == "n"+name {
			return n, nil
		}
		names = append(names, c.nodes[i].Name)
	}
	return nil, exit.Errorf(exit.NotFound, "no node %q in %s; it has %s", name, c.dir, strings.Join(names, ", "))
}
