package nodes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// Grow adds a node to the file, under a name that no node of the directory ever
// had. It joins the others; nothing is started.
func (c *Cluster) Grow() (Node, error) {
	var fresh Node
	err := c.locked(func() error {
		if len(c.nodes) >= MaxNodes {
			return exit.Errorf(exit.Usage, "a local cluster has at most %d nodes", MaxNodes)
		}
		client, peer, err := addresses(1, 0)
		if err != nil {
			return exit.Errorf(exit.Refused, "%w", err)
		}
		name := c.freeName()
		if err := c.checkCertificate(name); err != nil {
			return err
		}
		fresh = Node{Name: name, ClientAddress: client[0], PeerAddress: peer[0], Joined: true, dir: c.dir}
		c.nodes = append(c.nodes, fresh)
		return nil
	})
	return fresh, err
}

func (c *Cluster) freeName() string {
	for i := 1; ; i++ {
		name := fmt.Sprintf("n%d", i)
		_, err := os.Stat(filepath.Join(c.dir, name))
		if err != nil && !slices.ContainsFunc(c.nodes, func(n Node) bool { return n.Name == name }) {
			return name
		}
	}
}

// Node finds a node by its name, n1 or 1.
func (c *Cluster) Node(name string) (Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find(name)
	if err != nil {
		return Node{}, err
	}
	return *n, nil
}

// Forget stops a node that was removed from the cluster and drops it from the
// file. Its data and log stay.
func (c *Cluster) Forget(name string) error {
	return c.locked(func() error {
		n, err := c.find(name)
		if err != nil {
			return err
		}
		if err := procs.End(n.Pid, n.DataDir(), false, stopGrace); err != nil {
			return err
		}
		c.nodes = slices.DeleteFunc(c.nodes, func(o Node) bool { return o.Name == n.Name })
		return nil
	})
}

// WaitUp waits until a node answers, member or not.
func (c *Cluster) WaitUp(ctx context.Context, limit time.Duration, name string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	security, err := c.ClientTLS().Open()
	if err != nil {
		return err
	}
	conn, err := connect.Dial(n.ClientAddress, security)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if _, err := connect.View(ctx, conn); err == nil {
			return nil
		}
		if !n.Running() {
			return fmt.Errorf("node %s has ended: %s; its log is %s", n.Name, strings.TrimSpace(procs.LastLine(n.Log())), n.Log())
		}
		select {
		case <-ctx.Done():
			return exit.Errorf(exit.Unavailable, "node %s did not answer within %s; its log is %s", n.Name, limit, n.Log())
		case <-time.After(servingPoll):
		}
	}
}
