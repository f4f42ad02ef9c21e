package raftstore

import (
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

// sentryTicks is how often the sentry looks within one heartbeat timeout.
const sentryTicks = 20

// watchLeader wakes Raft when the leader has been silent for the heartbeat
// timeout.
//
// The library looks only when a timer of one to two timeouts fires, which was
// not set when the leader was last heard but at any time before, and starts
// over if the silence is too short then. So a follower notices after one to
// three timeouts, and both followers of three must have noticed before one can
// win. Looking in time halves that, and allows a timeout that is longer by as
// much, which a slow disk does not reach.
func (n *Node) watchLeader() {
	timeout := n.cfg.HeartbeatTimeout
	ticker := time.NewTicker(max(timeout/sentryTicks, time.Millisecond))
	defer ticker.Stop()
	started := time.Now()
	var woken time.Time // the contact after which Raft was woken
	patience := sentryPatience(timeout)
	for {
		select {
		case <-n.stopped:
			return
		case <-ticker.C:
		}
		last := n.raft.LastContact()
		if last.IsZero() {
			last = started
		}
		if n.raft.State() != raft.Follower || last.Equal(woken) || time.Since(last) < patience {
			continue
		}
		woken, patience = last, sentryPatience(timeout)
		n.wakeRaft()
	}
}

// sentryPatience adds a random part, so that followers do not all stand for
// election in the same moment.
func sentryPatience(timeout time.Duration) time.Duration {
	return timeout + rand.N(timeout/5)
}

// wakeRaft lets Raft check now how long the leader has been silent. It does so
// when its heartbeat timeout gets shorter, by however little.
func (n *Node) wakeRaft() {
	rc := n.raft.ReloadableConfig()
	shorter := rc
	rc.HeartbeatTimeout++
	rc.ElectionTimeout = max(rc.ElectionTimeout, rc.HeartbeatTimeout)
	for _, c := range []raft.ReloadableConfig{rc, shorter} {
		if err := n.raft.ReloadConfig(c); err != nil {
			n.logger.Warn("cannot wake raft", "err", err)
		}
	}
}
