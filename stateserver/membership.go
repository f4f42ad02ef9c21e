package stateserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

const (
	// membershipTick is how often a node looks whether it is a member still.
	membershipTick = 100 * time.Millisecond
	// leaderlessDoubt is how long a node without a leader waits before it asks
	// others whether it was removed: one that was down meanwhile was not told.
	leaderlessDoubt = time.Second
)

// notMember is the answer of a node that belongs to no cluster; nil for a member.
func (s *Server) notMember() *holdfastv1.Error {
	e := &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_NOT_A_MEMBER, Outcome: holdfastv1.Outcome_OUTCOME_NOT_APPLIED}
	switch s.store.Membership() {
	case raftstore.WasRemoved:
		e.Message = fmt.Sprintf("node %s was removed from the cluster; use another node. To come back it must be started with --join on an empty data directory and added", s.store.Name())
	case raftstore.IsWaiting:
		e.Message = fmt.Sprintf("node %s waits to be added to a cluster; on a member of it: `holdfast cluster add %s`", s.store.Name(), s.store.Address())
	default:
		return nil
	}
	return e
}

// unfit tells why this node cannot serve operators now, nil if it can.
func (s *Server) unfit() *holdfastv1.Error {
	if e := s.notMember(); e != nil {
		return e
	}
	if s.cutOff() {
		return cutOffError()
	}
	return nil
}

// membersOnly refuses the calls of clients while this node is no member. What it
// tells about itself, and its health, it tells always.
func (s *Server) membersOnly(public bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ours := strings.HasPrefix(info.FullMethod, "/holdfast.")
		if public && ours && info.FullMethod != holdfastv1.ClusterService_Describe_FullMethodName {
			if e := s.notMember(); e != nil {
				return nil, toStatus(e)
			}
		}
		return handler(ctx, req)
	}
}

// watchMembership finds out that this node was removed, and says so once. Its
// streams see it by themselves.
func (s *Server) watchMembership(ctx context.Context) {
	tick := time.NewTicker(membershipTick)
	defer tick.Stop()
	var asked time.Time
	for {
		if s.store.Membership() == raftstore.WasRemoved {
			s.log.Error("this node was removed from its cluster and serves nobody; stop it, or start it with --join on an empty data directory and add it as a new member",
				"name", s.store.Name(), "node", s.store.ID(), "cluster", s.store.ClusterID())
			return
		}
		if doubts := s.doubtsMembership(); doubts && time.Since(asked) > leaderlessDoubt {
			asked = time.Now()
			if s.confirmRemoved(ctx) {
				if err := s.store.MarkRemoved(); err != nil {
					s.log.Warn("the removal could not be written down; it is found out anew", "err", err)
				}
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// doubtsMembership tells whether a node that was a member may have been removed:
// the configuration it knows lacks it, or no leader has spoken to it of late.
func (s *Server) doubtsMembership() bool {
	if !s.admitted() {
		return false // AddNode may be under way, or have ended half way
	}
	since := s.leaderless.Load()
	return !s.listed() || since != nil && time.Since(*since) > leaderlessDoubt
}

// admitted tells whether the log has a record of this node, or once had: the end
// of the record may be the last thing that a removed node is sent.
func (s *Server) admitted() bool {
	if s.store.Admitted() {
		return true
	}
	registered := false
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { registered = m.NodeOf(s.store.ID()) != nil })
	if !registered {
		return false
	}
	if err := s.store.MarkAdmitted(); err != nil {
		s.log.Warn("that this node is a member could not be written down", "err", err)
	}
	return true
}

// listed tells whether the configuration that this node knows has it.
func (s *Server) listed() bool {
	for _, m := range s.store.Members() {
		if m.ID == s.store.ID() {
			return true
		}
	}
	return false
}

// confirmRemoved asks the other members. Only a leader that has proved that it
// leads knows.
func (s *Server) confirmRemoved(ctx context.Context) bool {
	for _, m := range s.store.Members() {
		if m.ID == s.store.ID() {
			continue
		}
		r, err := s.readIndexOf(ctx, m.ID)
		if err == nil {
			return !r.Member
		}
		s.log.Debug("asked whether this node is still a member", "of", m.ID, "err", err)
	}
	return false
}

// readIndexOf asks one node, which must lead, for its read index.
func (s *Server) readIndexOf(ctx context.Context, id string) (*internalv1.ReadIndexResponse, error) {
	conn, err := s.peers.conn(id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return internalv1.NewPeerServiceClient(conn).ReadIndex(ctx, &internalv1.ReadIndexRequest{NodeId: s.store.ID()})
}

// readIndex finds out how far the log is committed now.
func (s *Server) readIndex(ctx context.Context) (uint64, error) {
	for attempt := 0; ; attempt++ {
		switch leader := s.leaderID(); leader {
		case "":
		case s.store.ID():
			if err := s.store.Barrier(ctx); err == nil {
				return s.store.AppliedIndex(), nil
			}
		default:
			if r, err := s.readIndexOf(ctx, leader); err == nil {
				return r.Index, nil
			}
		}
		if err := s.awaitLeader(ctx, attempt); err != nil {
			return 0, err
		}
	}
}

// ReadIndex implements internalv1.PeerService.
func (p *peerService) ReadIndex(ctx context.Context, r *internalv1.ReadIndexRequest) (*internalv1.ReadIndexResponse, error) {
	if err := p.s.store.Barrier(ctx); err != nil {
		return nil, toStatus(noLeader())
	}
	out := &internalv1.ReadIndexResponse{Index: p.s.store.AppliedIndex()}
	for _, m := range p.s.store.Members() {
		out.Member = out.Member || m.ID == r.NodeId
	}
	return out, nil
}

// forgetStrangers drops, while this node leads, the records of nodes that are no
// members.
func (s *Server) forgetStrangers(ctx context.Context) {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	for {
		if s.store.IsLeader() && s.store.Barrier(ctx) == nil {
			s.forgetOnce(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) forgetOnce(ctx context.Context) {
	member := map[string]bool{}
	for _, m := range s.store.Members() {
		member[m.ID] = true
	}
	var recorded []string
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { recorded = m.Nodes() })
	for _, id := range recorded {
		if member[id] {
			continue
		}
		c := &internalv1.Command{Command: &internalv1.Command_ForgetNode{ForgetNode: &internalv1.ForgetNode{NodeId: id}}}
		if _, _, e := s.fwd.do(ctx, c); e != nil && ctx.Err() == nil {
			s.log.Warn("the record of a removed node is left", "node", id, "err", e.Message)
		}
	}
}
