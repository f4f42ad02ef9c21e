package stateserver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// hostStates are the working states that this process has: of subtasks whose
// backend is on hosts and whose streams are here, and of those without checkpoints
// that have their home here. docs/model has the rules by letter and number.
type hostStates struct {
	s        *Server
	log      *slog.Logger
	backends *backend.Set
	stores   *stores
	// incarnation is random: what this process has in its memory is gone when
	// another one registers.
	incarnation string

	mu        sync.Mutex
	bySubtask map[uint64]*slot
}

// slot serialises what becomes of the state of one subtask here.
type slot struct {
	mu sync.Mutex
	h  *hosted // nil: none
}

func newHostStates(s *Server, backends *backend.Set, st *stores) *hostStates {
	return &hostStates{
		s: s, log: s.log, backends: backends, stores: st, incarnation: randomID(), bySubtask: map[uint64]*slot{},
	}
}

// names lists the backends that jobs can name on this node, memory apart.
func (m *hostStates) names() []string {
	if m.backends == nil {
		return nil
	}
	return m.backends.Names()
}

func (m *hostStates) slot(subtask uint64) *slot {
	m.mu.Lock()
	defer m.mu.Unlock()
	sl := m.bySubtask[subtask]
	if sl == nil {
		sl = &slot{}
		m.bySubtask[subtask] = sl
	}
	return sl
}

// subject is an attempt of a subtask that gets its working state here.
type subject struct {
	view    coordinator.SubtaskView
	spec    *holdfastv1.JobSpec
	space   keyed.SpaceConfig
	restore coordinator.RestorePoint
	states  []*holdfastv1.StateId
	// index of parallelism, and the operator states of its chain.
	index, parallelism uint32
	operatorStates     []coordinator.DeclaredOperatorState
}

// open gives an attempt its state (rules C1 and W2): the one that its home has, or a
// new one, restored from what the attempt begins from. What this host had for the
// subtask before is closed first, after the frame that it has in hand (rule H4).
func (m *hostStates) open(ctx context.Context, sub *subject) (*hosted, error) {
	sl := m.slot(sub.view.ID)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if !m.isCurrent(sub) {
		// Another attempt came while this one waited for its turn: the state is its.
		return nil, errGone
	}
	if h := sl.h; h != nil && !sub.view.CheckpointsEnabled && h.origin == sub.view.Home.Origin {
		if err := h.move(ctx, sub.view.Token); err != nil {
			return nil, err
		}
		return h, m.tellLoaded(ctx, sub)
	}
	if sl.h != nil {
		sl.h.close()
		sl.h = nil
	}
	st, err := m.restored(ctx, sub)
	if err != nil {
		return nil, err
	}
	sl.h = newHosted(m, sub, st)
	return sl.h, m.tellLoaded(ctx, sub)
}

// isCurrent tells whether the log still has the attempt that is to get a state.
func (m *hostStates) isCurrent(sub *subject) (current bool) {
	m.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) {
		v, ok := c.Subtask(sub.view.ID)
		current = ok && v.Token == sub.view.Token
	})
	return current
}

// tellLoaded tells the log that a home has what the snapshot had, so that the next
// attempt goes on with it instead of beginning from the snapshot again.
func (m *hostStates) tellLoaded(ctx context.Context, sub *subject) error {
	if !sub.view.Loading {
		return nil
	}
	return (&loader{m: m, ctx: ctx, sub: sub}).send(true)
}

// letGo is told that a stream no longer has an attempt. State with checkpoints is
// closed, a home keeps it for the next attempt.
func (m *hostStates) letGo(h *hosted, token uint64) {
	h.owner.CompareAndSwap(token, 0)
	if h.checkpoints {
		m.drop(h)
	}
}

// drop closes a state and forgets it.
func (m *hostStates) drop(h *hosted) {
	sl := m.slot(h.subtask)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.h == h {
		h.close()
		sl.h = nil
	}
}

// sweepEvery is how often homes are compared with the state of this node.
const sweepEvery = time.Second

// sweep closes the homes of jobs that are gone, of which the log says that they are
// lost, or that they are elsewhere.
func (m *hostStates) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, h := range m.all() {
			if !m.keeps(h) {
				m.log.Info("the state of a subtask is dropped", "job", h.jobID, "subtask", h.subtask)
				m.drop(h)
			}
		}
	}
}

// keeps tells whether the log still wants the state to be here.
func (m *hostStates) keeps(h *hosted) (keep bool) {
	m.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) {
		v, ok := c.Subtask(h.subtask)
		switch {
		case !ok || coordinator.Ended(v.JobStatus):
		case h.checkpoints:
			keep = v.Token == h.owner.Load() || v.Token < h.token
		default:
			home := v.Home
			keep = home.NodeID == m.s.store.ID() && home.Incarnation == m.incarnation && home.Origin == h.origin && !home.Lost
		}
	})
	return keep
}

func (m *hostStates) all() []*hosted {
	m.mu.Lock()
	slots := make([]*slot, 0, len(m.bySubtask))
	for _, sl := range m.bySubtask {
		slots = append(slots, sl)
	}
	m.mu.Unlock()
	var out []*hosted
	for _, sl := range slots {
		// One that is being opened or closed is looked at next time.
		if sl.mu.TryLock() {
			if sl.h != nil {
				out = append(out, sl.h)
			}
			sl.mu.Unlock()
		}
	}
	return out
}

// find returns the state of a subtask that is here, nil if it is not, or is being
// opened or closed: that may take as long as the checkpoint storage is away.
func (m *hostStates) find(subtask uint64) *hosted {
	m.mu.Lock()
	sl := m.bySubtask[subtask]
	m.mu.Unlock()
	if sl == nil || !sl.mu.TryLock() {
		return nil
	}
	defer sl.mu.Unlock()
	return sl.h
}

// closeAll ends every state and the backends. Nothing is opened after it.
func (m *hostStates) closeAll() {
	m.mu.Lock()
	slots := m.bySubtask
	m.bySubtask = map[uint64]*slot{}
	m.mu.Unlock()
	for _, sl := range slots {
		sl.mu.Lock()
		if sl.h != nil {
			sl.h.close()
			sl.h = nil
		}
		sl.mu.Unlock()
	}
	m.stores.close()
	if m.backends == nil {
		return
	}
	if err := m.backends.Close(); err != nil {
		m.log.Warn("a state backend could not be closed", "err", err)
	}
}

// subjectOf reads what an attempt needs from the state of this node.
func (m *hostStates) subjectOf(subtask, token uint64) (*subject, error) {
	sub := &subject{}
	var err error
	m.s.store.Read(func(c *coordinator.Machine, _ *keyed.Store) {
		v, ok := c.Subtask(subtask)
		space, hasSpace := c.SpaceOf(subtask)
		rp, hasPoint := c.RestorePointOf(subtask)
		job := c.Describe(v.JobID)
		if !ok || v.Token != token || !hasSpace || !hasPoint || job == nil {
			err = errGone
			return
		}
		sub.view, sub.restore, sub.spec = v, rp, job.Spec
		sub.space = raftstore.SpaceConfig(space)
		a := c.AssignFrame(subtask)
		sub.states, sub.index, sub.parallelism = a.GetStateIds(), a.GetSubtaskIndex(), a.GetParallelism()
		sub.operatorStates = c.OperatorStatesOf(subtask)
	})
	if err == nil && sub.view.OnHost && m.backends == nil {
		err = fmt.Errorf("this node has no state backend %q", sub.view.Backend)
	}
	return sub, err
}
