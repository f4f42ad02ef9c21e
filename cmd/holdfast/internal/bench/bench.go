// Package bench measures a cluster of three node processes on this machine. Each
// measurement checks what the nodes counted before it tells a figure. No figure is
// judged but what many checkpoints leave behind, which has bounds.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/internal/grpctls"
)

// Config is what all measurements can be told.
type Config struct {
	// Binary is the server program. Addresses, if set, name a running cluster
	// that is measured instead of one of its own.
	Binary    string
	Addresses []string
	// Client secures calls to Addresses, and TLS the operator processes; without
	// addresses there is none, whatever the environment says.
	Client *grpctls.Client
	TLS    grpctls.Settings
	// Patience bounds every wait for an answer.
	Patience time.Duration
	// Note tells what is going on.
	Note func(what string)
}

// size is the number of nodes of a cluster of a measurement's own, and alone that of
// one whose state on a host is measured.
const size, alone = 3, 1

// startLimit bounds the start of the nodes.
const startLimit = time.Minute

// cluster is what is measured.
type cluster struct {
	cfg   Config
	dir   string
	local *nodes.Cluster // nil: it was there before
	calls *connect.Cluster
	conns map[string]*grpc.ClientConn
}

// node is one member of the cluster.
type node struct {
	name, address, metrics string
	leader                 bool
	pid                    int
}

// open starts three nodes in a temporary directory, or takes the cluster at
// Config.Addresses. flags go to each holdfastd.
func open(ctx context.Context, cfg Config, flags ...string) (*cluster, error) {
	return openSized(ctx, cfg, size, flags...)
}

func openSized(ctx context.Context, cfg Config, n int, flags ...string) (*cluster, error) {
	c := &cluster{cfg: cfg, conns: map[string]*grpc.ClientConn{}}
	addresses := cfg.Addresses
	if len(addresses) == 0 {
		cfg.Note("starting nodes")
		if err := c.start(ctx, n, flags); err != nil {
			return nil, errors.Join(err, c.close())
		}
		addresses = c.local.Addresses()
	}
	var err error
	if c.calls, err = connect.Open(addresses, cfg.Patience, cfg.Client); err != nil {
		return nil, errors.Join(err, c.close())
	}
	// The sentence of an address where nobody answers.
	err = c.calls.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := connect.View(ctx, conn)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// roomFlag in flags stands for the directory of the measurement.
const roomFlag = "{dir}"

func (c *cluster) start(ctx context.Context, n int, flags []string) (err error) {
	if c.dir, err = os.MkdirTemp("", "holdfast-bench-"); err != nil {
		return err
	}
	for i := range flags {
		flags[i] = strings.ReplaceAll(flags[i], roomFlag, c.dir)
	}
	if c.local, err = nodes.Create(c.dir, n, 0, ""); err != nil {
		return err
	}
	c.local.Bound, c.local.Flags = true, flags
	if _, err := c.local.Start(c.cfg.Binary); err != nil {
		return err
	}
	return c.local.WaitServing(ctx, startLimit)
}

// close ends what open started and removes its data.
func (c *cluster) close() error {
	for _, conn := range c.conns {
		_ = conn.Close() // nothing was written that could be lost
	}
	if c.calls != nil {
		c.calls.Close()
	}
	var err error
	if c.local != nil {
		_, err = c.local.Stop(true)
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// conn is a connection to one node. It is the cluster's to close.
func (c *cluster) conn(address string) (*grpc.ClientConn, error) {
	if conn := c.conns[address]; conn != nil {
		return conn, nil
	}
	conn, err := connect.Dial(address, c.cfg.Client)
	if err != nil {
		return nil, err
	}
	c.conns[address] = conn
	return conn, nil
}

// nodes asks the members for their own view until one of them leads.
func (c *cluster) nodes(ctx context.Context) (leader node, others []node, err error) {
	give := time.Now().Add(c.patience())
	for {
		leader, others, err = c.look(ctx)
		if err == nil && leader.address != "" && (len(others) > 0 || len(c.calls.Addresses()) == 1) {
			return leader, others, nil
		}
		if time.Now().After(give) {
			return leader, others, errors.Join(errors.New("the cluster has no leader and followers that answer"), err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return leader, others, err
		}
	}
}

// patience bounds a wait: nodes of our own may be slow to start.
func (c *cluster) patience() time.Duration {
	if c.local == nil {
		return c.cfg.Patience
	}
	return max(c.cfg.Patience, startLimit)
}

func (c *cluster) look(ctx context.Context) (leader node, others []node, err error) {
	addresses := c.calls.Addresses()
	var best uint64
	var all []node
	for _, a := range addresses {
		conn, err := c.conn(a)
		if err != nil {
			return leader, nil, err
		}
		d, err := connect.View(ctx, conn)
		if err != nil {
			continue // it is down
		}
		n := node{name: a, address: a, metrics: d.GetMetricsAddress(), pid: c.pid(a)}
		for _, m := range d.GetMembers() {
			if m.GetNodeId() == d.GetNodeId() && m.GetName() != "" {
				n.name = m.GetName()
			}
		}
		if d.GetLeaderId() == d.GetNodeId() && d.GetTerm() > best {
			best, leader = d.GetTerm(), n
		}
		all = append(all, n)
	}
	leader.leader = leader.address != ""
	return leader, slices.DeleteFunc(all, func(n node) bool { return n.address == leader.address }), nil
}

func (c *cluster) pid(address string) int {
	if c.local == nil {
		return 0
	}
	for _, n := range c.local.Nodes() {
		if n.ClientAddress == address {
			return n.Pid
		}
	}
	return 0
}

// dataDir is where a node of a cluster of our own keeps its data.
func (c *cluster) dataDir(name string) string { return filepath.Join(c.dir, name) }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closing joins the end of a cluster to the error of a measurement.
func closing(c *cluster, err *error) { *err = errors.Join(*err, c.close()) }

// Distribution tells how long things took, in milliseconds.
type Distribution struct {
	Count int     `json:"count"`
	Min   float64 `json:"min_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func distribution(d []time.Duration) Distribution {
	if len(d) == 0 {
		return Distribution{}
	}
	s := slices.Sorted(slices.Values(d))
	at := func(q float64) float64 {
		return float64(s[min(int(q*float64(len(s))), len(s)-1)].Microseconds()) / 1000
	}
	return Distribution{Count: len(s), Min: at(0), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// Cells are count, min, p50, p90, p99 and max for a table.
func (d Distribution) Cells() []any {
	ms := func(v float64) string { return fmt.Sprintf("%.1f ms", v) }
	return []any{d.Count, ms(d.Min), ms(d.P50), ms(d.P90), ms(d.P99), ms(d.Max)}
}
