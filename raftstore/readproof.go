//go:build !bug_unconfirmed_read

package raftstore

import (
	"context"
	"time"
)

// provesLeadership is nil when a majority has confirmed, after the read was asked
// for, that this node leads: only then is what it has committed all there is.
func (n *Node) provesLeadership(ctx context.Context, term uint64, asked time.Time) error {
	return n.confirmLeadership(ctx, term, asked)
}
