package raftstore

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Store is a node of the replicated log together with the state it feeds.
type Store struct {
	*Node
	fsm *fsm
}

// OpenStore opens a node over the coordinator and the keyed state.
func OpenStore(ctx context.Context, cfg Config) (*Store, error) {
	f := newFSM()
	if err := register(cfg.Metrics, append(f.metrics.Collectors(), stateCollector{f})...); err != nil {
		return nil, fmt.Errorf("raftstore: register metrics: %w", err)
	}
	n, err := Open(ctx, cfg, f)
	if err != nil {
		return nil, err
	}
	return &Store{Node: n, fsm: f}, nil
}

// Pending is a command on its way into the log.
type Pending struct{ future Future }

// Submit proposes a marshalled internalv1.Command. The order of calls is the
// order in the log.
func (s *Store) Submit(ctx context.Context, command []byte) Pending {
	return Pending{s.Node.Propose(ctx, CommandType, command)}
}

// Wait returns the result of the command and its index. [Outcome] tells the
// class of an error.
func (p Pending) Wait(ctx context.Context) (*internalv1.CommandResult, uint64, error) {
	v, index, err := p.future.Wait(ctx)
	if err != nil {
		return nil, 0, err
	}
	r, ok := v.(*internalv1.CommandResult)
	if !ok {
		return nil, 0, fmt.Errorf("a command's result is a %T", v)
	}
	return r, index, nil
}

// Do proposes a command and waits for its result.
func (s *Store) Do(ctx context.Context, c *internalv1.Command) (*internalv1.CommandResult, uint64, error) {
	b, err := proto.Marshal(c)
	if err != nil {
		return nil, 0, fmt.Errorf("marshal a command: %w", err)
	}
	return s.Submit(ctx, b).Wait(ctx)
}

// ClusterVersion is the committed cluster version that this node has applied.
func (s *Store) ClusterVersion() uint32 { return s.fsm.ClusterVersion() }

// Versions are the cluster versions that this node supports.
func (s *Store) Versions() coordinator.Versions { return s.cfg.Versions }

// Read runs fn on this node's state with nothing applied meanwhile. fn must be
// short and keep nothing. The state may lag behind the leader's; see
// [Node.WaitApplied] and [Node.Barrier].
func (s *Store) Read(fn func(m *coordinator.Machine, k *keyed.Store)) { s.fsm.read(fn) }

// Watch returns a channel that gets a value after each change of a job, flushes
// apart; of any job if the id is empty.
func (s *Store) Watch(jobID string) (changes <-chan struct{}, cancel func()) {
	return s.fsm.hub.watch(jobID)
}

// StateHash returns the hash of the whole state at the index of a MarkHash
// command, once this node has applied it.
func (s *Store) StateHash(ctx context.Context, index uint64) (string, error) {
	if err := s.WaitApplied(ctx, index); err != nil {
		return "", err
	}
	return s.fsm.stateHash(ctx, index)
}

// RestoredIndex returns the last command of the snapshot that this node last
// loaded; 0: it has replayed the whole log.
func (s *Store) RestoredIndex() uint64 {
	s.fsm.mu.RLock()
	defer s.fsm.mu.RUnlock()
	return s.fsm.restored
}

// CommandsApplied counts the commands that this node applied since it started.
func (s *Store) CommandsApplied() uint64 {
	s.fsm.mu.RLock()
	defer s.fsm.mu.RUnlock()
	return s.fsm.commands
}
