package connect

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// RefusedGrace is how long every address may refuse connections before a call is
// given up, whatever the patience: a node that restarts is back by then, and where
// no node runs it is of no use to wait.
const RefusedGrace = 3 * time.Second

// door is an address, and whether its machine refused the last connection: there is
// one, and nothing listens.
type door struct {
	refused atomic.Bool
}

func (d *door) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	d.refused.Store(errors.Is(err, syscall.ECONNREFUSED))
	return conn, err
}

// refusals is how long every address of a cluster has refused, over the tries of one
// call.
type refusals struct {
	since time.Time
}

// over tells whether that was too long. It is asked after each round.
func (r *refusals) over(c *Cluster) bool {
	if !c.allRefuse() {
		r.since = time.Time{}
		return false
	}
	if r.since.IsZero() {
		r.since = time.Now()
	}
	return time.Since(r.since) >= RefusedGrace
}

func (c *Cluster) allRefuse() bool {
	for _, d := range c.doors {
		if !d.refused.Load() {
			return false
		}
	}
	return true
}
