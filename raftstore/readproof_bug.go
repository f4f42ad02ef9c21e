//go:build bug_unconfirmed_read

package raftstore

import (
	"context"
	"time"
)

// Planted bug, against linearizable reads: a node that believes it leads answers,
// although the others may have another leader.
func (n *Node) provesLeadership(context.Context, uint64, time.Time) error { return nil }
