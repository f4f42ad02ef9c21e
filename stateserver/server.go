package stateserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Config holds what a node's edge can be told.
type Config struct {
	// ClientAddress is the address told to clients, host:port.
	ClientAddress string
	// Credentials secure the port for clients; nil: it has no TLS.
	Credentials credentials.TransportCredentials
	// HeartbeatInterval and SessionTimeout are told to operator processes.
	HeartbeatInterval, SessionTimeout time.Duration
	// ReconnectGrace is how long the process of a broken stream may take.
	ReconnectGrace time.Duration
	// StatusInterval is how often the leader is told of this host's streams.
	StatusInterval time.Duration
	// MaxStreams bounds the streams that clients have open on this node at a
	// time.
	MaxStreams uint32
	// Storages opens the directories of checkpoints and savepoints; nil: the node
	// has none.
	Storages *storage.Registry
	// MetricsAddress is told to who asks for it; empty: there is none.
	MetricsAddress string
	// Metrics is the registry of the node's metrics. nil: they are counted and
	// shown to nobody.
	Metrics prometheus.Registerer
	// Backends has the state backends beside memory. nil: none.
	Backends *backend.Registry
	// StateDir is where their working state may be on the node's disk, a directory
	// each. It is theirs alone, and removed first. StateCacheBytes bounds what each may take of memory, 0: no bound.
	StateDir        string
	StateCacheBytes int64
	// StateOption gives the backends what the node's configuration has for them.
	StateOption func(key string) string
	// Clock is read once, as the wall clock. Default: time.Now.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Server is the edge of one node.
type Server struct {
	cfg   Config
	store *raftstore.Store
	log   *slog.Logger
	fwd   *forwarder
	peers *peers
	lead  *leadership
	hosts *sessions
	clock steadyClock
	// states are the working states of backends on hosts.
	states   *hostStates
	exporter *exporter

	// snapshots reads and deletes what lies in directories of users; nil: this node
	// has no checkpoint storage.
	snapshots snapshotStore

	metrics  *metrics
	progress progress

	public, internal *grpc.Server
	health           *health.Server
	ctx              context.Context
	cancel           context.CancelFunc
	wg               sync.WaitGroup
	// leaderless is since when this node has heard of no leader; nil while it
	// knows one.
	leaderless atomic.Pointer[time.Time]
	// streams counts those that clients have open.
	streams atomic.Int64
	// caughtUp is closed once this node has caught up with a leader since it started.
	caughtUp chan struct{}
}

// cutOff tells whether this node has heard of no leader for half the session
// timeout. It can do nothing for its operators then; on another node they resume
// before the leader, if there is one, gives their subtasks away.
func (s *Server) cutOff() bool {
	since := s.leaderless.Load()
	return since != nil && time.Since(*since) > s.cfg.SessionTimeout/2
}

func cutOffError() *holdfastv1.Error {
	e := noLeader()
	e.Message = "this node has heard of no leader for half the session timeout; go on at another one"
	return e
}

// New builds the edge over a store. Serve starts it. The error is of the registry
// of the metrics, or of StateDir.
func New(store *raftstore.Store, cfg Config) (*Server, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, store: store, log: cfg.Logger, ctx: ctx, cancel: cancel,
		health: health.NewServer(), hosts: newSessions(), metrics: newMetrics(), caughtUp: make(chan struct{}),
		clock: newSteadyClock(cfg.Clock),
	}
	var backends *backend.Set
	if cfg.Backends != nil {
		var err error
		if backends, err = backend.NewSet(cfg.Backends, backend.Env{Dir: cfg.StateDir, CacheBytes: cfg.StateCacheBytes, Option: cfg.StateOption, Logger: cfg.Logger}); err != nil {
			cancel()
			return nil, err
		}
	}
	s.states = newHostStates(s, backends, newStores(cfg.Storages))
	s.exporter = newExporter(s)
	if cfg.Storages != nil {
		s.snapshots = snapshotFiles{s}
	}
	s.peers = newPeers(store.DialPeer)
	changes, _ := store.LeaderChanges()
	s.fwd = newForwarder(s.leaderID, changes, s.openLink)
	s.fwd.resent = s.metrics.resent
	s.lead = newLeadership(store, coordinator.DriverConfig{
		SessionTimeout: cfg.SessionTimeout, ReconnectGrace: cfg.ReconnectGrace, NodeSilence: 4 * cfg.StatusInterval,
	}, cfg.Logger, s.clock)
	s.public = s.newGRPC(true)
	s.internal = s.newGRPC(false)
	internalv1.RegisterPeerServiceServer(s.internal, &peerService{s: s})
	holdfastv1.RegisterOperatorServiceServer(s.public, &operatorService{s: s})
	healthv1.RegisterHealthServer(s.public, s.health)
	reflection.Register(s.public)
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if err := s.registerMetrics(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// newGRPC makes a server with the services that both ports have. The public
// one forwards to the leader what only the leader may answer.
func (s *Server) newGRPC(public bool) *grpc.Server {
	opts := []grpc.ServerOption{grpc.MaxSendMsgSize(maxMessageBytes)}
	if public {
		opts = append(opts, append(s.guard(), grpc.StatsHandler(newStatsHandler(s.metrics)))...)
	} else {
		opts = append(opts, grpc.MaxRecvMsgSize(maxMessageBytes))
	}
	opts = append(opts, grpc.ChainUnaryInterceptor(s.membersOnly(public), s.toLeader(public)))
	if public && s.cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(s.cfg.Credentials))
	}
	g := grpc.NewServer(opts...)
	holdfastv1.RegisterJobServiceServer(g, &jobService{s: s})
	holdfastv1.RegisterStateServiceServer(g, &stateService{s: s})
	holdfastv1.RegisterClusterServiceServer(g, &clusterService{s: s})
	return g
}

// registerMetrics shows the metrics, if there is a registry for them.
func (s *Server) registerMetrics() error {
	if s.cfg.Metrics == nil {
		return nil
	}
	for _, c := range append(append(s.metrics.all, s.exporter.metrics.all()...), serverCollector{s}) {
		if err := s.cfg.Metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Serve answers clients on lis and other nodes on the peer port until Close.
func (s *Server) Serve(lis net.Listener) {
	s.goRun(func() { s.fwd.run(s.ctx) })
	s.goRun(func() { s.lead.run(s.ctx) })
	s.goRun(func() { s.reportStreams(s.ctx) })
	s.goRun(func() { s.catchUp(s.ctx) })
	s.goRun(func() { s.register(s.ctx) })
	s.goRun(func() { s.watchHealth(s.ctx) })
	s.goRun(func() { s.watchMembership(s.ctx) })
	s.goRun(func() { s.forgetStrangers(s.ctx) })
	s.goRun(func() { s.states.sweep(s.ctx) })
	s.goRun(func() { s.exporter.run(s.ctx) })
	s.goRun(func() { s.serve(s.internal, s.store.PeerListener(), "peer") })
	s.goRun(func() { s.serve(s.public, lis, "client") })
}

func (s *Server) serve(g *grpc.Server, lis net.Listener, port string) {
	if err := g.Serve(lis); err != nil && s.ctx.Err() == nil {
		s.log.Error("a port stopped serving", "port", port, "err", err)
	}
}

func (s *Server) goRun(f func()) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f()
	}()
}

// Drain asks every operator stream to move to another node and waits until they
// have, or until ctx ends.
func (s *Server) Drain(ctx context.Context) {
	s.hosts.goAway()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.hosts.count() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.log.Warn("streams are left while draining", "streams", s.hosts.count())
			return
		}
	}
}

// Close stops serving at once.
func (s *Server) Close() {
	s.cancel()
	s.health.Shutdown()
	s.public.Stop()
	s.internal.Stop()
	s.peers.close()
	s.wg.Wait()
	s.states.closeAll()
}

// leaderID names the leader, empty if unknown.
func (s *Server) leaderID() string {
	id, _, ok := s.store.Leader()
	if !ok {
		return ""
	}
	return id
}

// openLink connects the forwarder to the leader.
func (s *Server) openLink(settle func(uint64, answer)) (string, link) {
	leader := s.leaderID()
	switch leader {
	case "":
		return "", nil
	case s.store.ID():
		return leader, newLocalLink(s.ctx, s.store, func(id uint64, a answer) {
			s.lead.answered(a)
			settle(id, a)
		})
	}
	conn, err := s.peers.conn(leader)
	if err != nil {
		return "", nil
	}
	l, err := newRemoteLink(s.ctx, internalv1.NewPeerServiceClient(conn), settle)
	if err != nil {
		return "", nil
	}
	return leader, l
}

// watchHealth answers SERVING while a leader is known.
func (s *Server) watchHealth(ctx context.Context) {
	changes, stop := s.store.LeaderChanges()
	defer stop()
	for {
		st := healthv1.HealthCheckResponse_NOT_SERVING
		if s.leaderID() != "" {
			st = healthv1.HealthCheckResponse_SERVING
			s.leaderless.Store(nil)
		} else {
			now := time.Now() // with its monotonic reading: wall time may jump
			s.leaderless.CompareAndSwap(nil, &now)
		}
		s.health.SetServingStatus("", st)
		select {
		case <-changes:
		case <-ctx.Done():
			return
		}
	}
}

// register keeps in the log where clients reach this node and which cluster
// versions it supports, as long as it is a member.
func (s *Server) register(ctx context.Context) {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	for s.store.WaitMember(ctx) == nil {
		if s.store.Membership() == raftstore.IsMember {
			s.registerOnce(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// registerEvery is how often a node looks whether its record is as it should be.
const registerEvery = time.Second

func (s *Server) registerOnce(ctx context.Context) {
	want := &internalv1.RegisterNode{
		NodeId: s.store.ID(), Name: s.store.Name(), ClientAddress: s.cfg.ClientAddress, Version: version.Version,
		MinClusterVersion: s.store.Versions().Min, MaxClusterVersion: s.store.Versions().Max,
		Incarnation: s.states.incarnation, StateBackends: s.states.names(),
	}
	var have *internalv1.Node
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { have = m.NodeOf(want.NodeId) })
	if have.GetClientAddress() == want.ClientAddress && have.GetName() == want.Name && have.GetVersion() == want.Version &&
		have.GetMinClusterVersion() == want.MinClusterVersion && have.GetMaxClusterVersion() == want.MaxClusterVersion &&
		have.GetIncarnation() == want.Incarnation && slices.Equal(have.GetStateBackends(), want.StateBackends) {
		return
	}
	want.PreviousIncarnation, want.TimeMs = have.GetIncarnation(), s.clock.now().UnixMilli()
	if _, _, e := s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: want}}); e != nil && ctx.Err() == nil {
		s.log.Warn("this node could not be registered", "err", e.Message)
	}
}

// reportStreams tells the leader which operator streams this host has: at each
// change, after a change of the leader, and every status interval.
func (s *Server) reportStreams(ctx context.Context) {
	changes, stop := s.store.LeaderChanges()
	defer stop()
	tick := time.NewTicker(s.cfg.StatusInterval)
	defer tick.Stop()
	for {
		s.reportOnce(ctx)
		select {
		case <-tick.C:
		case <-s.hosts.changed:
		case <-changes:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) reportOnce(ctx context.Context) {
	r := s.hosts.report(s.store.ID())
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		// Before its entry the log counts what an earlier process had as this node's.
		if m.NodeOf(s.store.ID()).GetIncarnation() == s.states.incarnation {
			r.Incarnation = s.states.incarnation
		}
	})
	leader := s.leaderID()
	if leader == "" || leader == s.store.ID() {
		// Not yet leading for good: the next tick tells it.
		s.lead.observe(r)
		return
	}
	conn, err := s.peers.conn(leader)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.StatusInterval)
	defer cancel()
	answer, err := internalv1.NewPeerServiceClient(conn).ReportStreams(ctx, r)
	if err == nil {
		s.progress.told(leader, answer.AppliedIndex)
	} else {
		level := slog.LevelWarn
		if status.Code(err) == codes.Unavailable {
			level = slog.LevelDebug // between two leaders
		}
		s.log.Log(ctx, level, "the leader did not take the report of streams", "leader", leader, "err", err)
	}
}
