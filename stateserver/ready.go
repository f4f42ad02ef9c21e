package stateserver

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// progress is what the leader told of its log, at the last two reports of this
// host's streams.
type progress struct {
	mu sync.Mutex
	// leader told them; another one begins anew.
	leader string
	// reports counts them.
	reports int
	// before and last are indexes that the leader had applied.
	before, last uint64
}

// told takes what a leader has applied.
func (p *progress) told(leader string, applied uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != leader {
		p.leader, p.reports, p.last = leader, 0, applied
	}
	p.reports++
	p.before, p.last = p.last, applied
}

// goal is an index that a node which keeps up has applied by now: what the
// leader had applied one report ago, so that a follower that is some
// milliseconds behind does not go in and out.
func (p *progress) goal(leader string) (index uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != leader || p.reports == 0 {
		return 0, false
	}
	return p.before, true
}

// silence is how long this node has heard nothing of a leader; false if it
// knows one.
func (s *Server) silence() (time.Duration, bool) {
	since := s.leaderless.Load()
	if since == nil {
		return 0, false
	}
	return time.Since(*since), true
}

// Alive tells why this process should be ended and started again, or nil.
func (s *Server) Alive() error {
	if s.store.Stats().Halted {
		return errors.New("this node applies nothing any more, because its copy would differ from the others; its log has the reason")
	}
	return nil
}

// Ready tells why this node should not be given work, or nil: it belongs to a
// cluster, knows its leader, and keeps up with it.
func (s *Server) Ready() error {
	if err := s.Alive(); err != nil {
		return err
	}
	if s.ctx.Err() != nil || s.hosts.isDraining() {
		return errors.New("this node is draining")
	}
	id := s.store.ID()
	member := false
	for _, m := range s.store.Members() {
		member = member || m.ID == id
	}
	if !member {
		return fmt.Errorf("this node, %s, belongs to no cluster: it waits to be added, or was removed", id)
	}
	leader := s.leaderID()
	if leader == "" {
		since, _ := s.silence()
		return fmt.Errorf("this node has known no leader for %s; a majority of the nodes must be up and reach each other", since.Round(time.Millisecond))
	}
	if leader == id {
		if !s.lead.leads() {
			return errors.New("this node was elected and has not yet applied all that its predecessors committed")
		}
		return nil
	}
	goal, ok := s.progress.goal(leader)
	if !ok {
		return fmt.Errorf("this node has not yet heard from the leader %s how far the log goes", leader)
	}
	if applied := s.store.AppliedIndex(); applied < goal {
		return fmt.Errorf("this node has applied index %d and the leader had applied %d a moment ago: it is catching up", applied, goal)
	}
	return nil
}
