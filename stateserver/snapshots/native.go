package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// nativeKey is one subtask of a chain: a backend's own snapshot has the states of all
// operators of it.
type nativeKey struct {
	head  string
	index uint32
}

// native reads a snapshot of a backend's own, state by state. As long as states are
// asked for in the order in which they are in it, it is read once.
type native struct {
	open func() (backend.Entries, error)
	es   backend.Entries // nil: not open
	have bool            // the entry of es is still to be given
	past uint32          // every state below is behind es
}

// native opens one state of a backend's own snapshot.
func (m *merged) native(g segment) (backend.Entries, error) {
	i := slices.Index(g.of.States, g.wanted.StateName)
	if i < 0 || len(g.of.StateIds) != len(g.of.States) {
		return nil, fmt.Errorf("%w: the manifest in %s does not number the states of operator %q in the format %q",
			backend.ErrDamaged, m.r.URL(), g.wanted.OperatorUID, g.of.Format)
	}
	key := nativeKey{m.r.heads[g.wanted.OperatorUID], g.subtask.Index}
	n := m.natives[key]
	if n == nil {
		n = &native{open: func() (backend.Entries, error) { return m.r.readNative(m.ctx, key, g) }}
		m.natives[key] = n
	}
	return n.state(g.of.StateIds[i], m.start, m.end)
}

// readNative lets the backend that wrote a snapshot read it.
func (r *Reader) readNative(ctx context.Context, key nativeKey, g segment) (backend.Entries, error) {
	if r.backends == nil {
		return nil, fmt.Errorf("the state of operator %q is in the format of the state backend %q, which cannot be read here", g.wanted.OperatorUID, g.of.Backend)
	}
	b, err := r.backends.Get(g.of.Backend)
	if err != nil {
		return nil, fmt.Errorf("the state of operator %q cannot be read: %w", g.wanted.OperatorUID, err)
	}
	space := r.spaceOf(key, g)
	spec := backend.Spec{Name: fmt.Sprintf("read-%d-%d", r.snap.Metadata.CheckpointId, key.index), Space: space}
	return b.ReadSnapshot(ctx, spec, partFiles{r.files}, handlesOf(g.of))
}

// spaceOf describes the subtask as it was, with the states of its whole chain.
func (r *Reader) spaceOf(key nativeKey, g segment) keyed.SpaceConfig {
	op := r.Operator(g.wanted.OperatorUID).GetOperator()
	cfg := keyed.SpaceConfig{Start: g.subtask.KeyGroupStart, End: g.subtask.KeyGroupEnd, NumGroups: op.GetMaxParallelism()}
	for _, o := range r.snap.Metadata.Operators {
		if r.heads[o.Operator.GetUid()] != key.head {
			continue
		}
		cfg.CoPartitioned = cfg.CoPartitioned || coPartitioned(o.Operator)
		for _, s := range o.Subtasks {
			for _, x := range s.Snapshots {
				if s.Index != key.index || x.Backend != g.of.Backend || len(x.StateIds) != len(x.States) {
					continue
				}
				for i, name := range x.States {
					if d := r.State(o.Operator.GetUid(), name); d != nil {
						cfg.States = append(cfg.States, raftstore.KeyedState(x.StateIds[i], d, 0))
					}
				}
			}
		}
	}
	return cfg
}

func coPartitioned(o *holdfastv1.Operator) bool {
	return slices.ContainsFunc(o.GetInputs(), func(in *holdfastv1.OperatorInput) bool {
		return in.GetPartitioning() == holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
	})
}

// state gives the entries of one state. It is over when the next one is asked for.
func (n *native) state(id, start, end uint32) (backend.Entries, error) {
	if n.es != nil && id < n.past {
		if err := n.close(); err != nil {
			return nil, err
		}
	}
	if n.es == nil {
		es, err := n.open()
		if err != nil {
			return nil, err
		}
		n.es, n.have = es, false
	}
	n.past = id + 1
	return &nativeState{n: n, id: id, start: start, end: end}, nil
}

func (n *native) close() error {
	if n.es == nil {
		return nil
	}
	err := errors.Join(n.es.Err(), n.es.Close())
	n.es, n.have = nil, false
	return err
}

// nativeState implements [backend.Entries] over one state of a native.
type nativeState struct {
	n              *native
	id, start, end uint32
}

// Next implements [backend.Entries].
func (s *nativeState) Next() bool {
	for {
		if !s.n.have && !s.n.es.Next() {
			return false
		}
		s.n.have = false
		switch e := s.n.es.Entry(); {
		case e.StateID > s.id:
			s.n.have = true // of a later state
			return false
		case e.StateID == s.id && e.KeyGroup >= s.start && e.KeyGroup < s.end:
			return true
		}
	}
}

// Entry implements [backend.Entries].
func (s *nativeState) Entry() backend.Entry { return s.n.es.Entry() }

// Err implements [backend.Entries].
func (s *nativeState) Err() error { return s.n.es.Err() }

// Close implements [backend.Entries].
func (s *nativeState) Close() error { return nil }
