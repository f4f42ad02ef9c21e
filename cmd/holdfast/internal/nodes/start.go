package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// servingPoll is the pause between two looks at a node's health.
const servingPoll = 20 * time.Millisecond

// Start starts the named nodes (none named: all) that do not run, with the
// server program at binary, and tells which it started. It does not wait.
func (c *Cluster) Start(binary string, names ...string) ([]Node, error) {
	var started []Node
	err := c.locked(func() error {
		if len(names) == 0 {
			for _, n := range c.nodes {
				names = append(names, n.Name)
			}
		}
		for _, name := range names {
			n, err := c.find(name)
			if err != nil {
				return err
			}
			if n.Running() {
				continue
			}
			if err := c.launch(binary, n); err != nil {
				return err
			}
			started = append(started, *n)
		}
		return nil
	})
	return started, err
}

func (c *Cluster) launch(binary string, n *Node) error {
	log, err := os.OpenFile(n.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"--data-dir", n.DataDir(), "--name", n.Name, "--listen", n.ClientAddress, "--peer-listen", n.PeerAddress, "--metrics-listen", "127.0.0.1:0"}
	if n.Joined {
		args = append(args, "--join")
	} else {
		args = append(args, "--initial-cluster", c.initialCluster())
	}
	p, err := procs.Start(procs.Spec{
		Path: binary, Args: slices.Concat(args, c.tlsArgs(n.Name), c.Flags),
		Stdout: log, Stderr: log,
		DieWithParent: c.Bound,
	})
	if err != nil {
		return err
	}
	n.Pid = p.Pid()
	c.children[n.Name] = p
	return nil
}

// WaitServing waits until every named node (none named: all) serves, which a
// node does when it knows a leader. It fails as soon as one of them has ended.
func (c *Cluster) WaitServing(ctx context.Context, limit time.Duration, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, n := range c.Nodes() {
		if len(names) > 0 && !n.Named(names) {
			continue
		}
		if err := c.waitOne(ctx, n, limit); err != nil {
			return err
		}
	}
	return nil
}

// Named reports whether the node is meant by one of the names: n1 or 1.
func (n Node) Named(names []string) bool {
	for _, name := range names {
		if n.Name == name || n.Name == "n"+name {
			return true
		}
	}
	return false
}

func (c *Cluster) waitOne(ctx context.Context, n Node, limit time.Duration) error {
	client, err := c.ClientTLS().Open()
	if err != nil {
		return err
	}
	conn, err := connect.Dial(n.ClientAddress, client)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		err := connect.Serving(ctx, conn)
		if err == nil {
			return nil
		}
		if !n.Running() {
			return fmt.Errorf("node %s has ended: %s; its log is %s", n.Name, procs.LastLine(n.Log()), n.Log())
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return context.Canceled
			}
			return exit.Errorf(exit.Unavailable, "node %s did not serve within %s; its log is %s", n.Name, limit, n.Log())
		case <-time.After(servingPoll):
		}
	}
}
