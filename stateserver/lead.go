package stateserver

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// leadTick bounds how late a timer of the coordinator may fire.
const leadTick = 10 * time.Millisecond

// leadership drives the coordinator while this node leads.
type leadership struct {
	store *raftstore.Store
	cfg   coordinator.DriverConfig
	log   *slog.Logger
	clock steadyClock

	mu     sync.Mutex
	driver *coordinator.Driver // nil while this node does not lead
	term   uint64              // in which the driver leads
	wakeup chan struct{}
}

func newLeadership(store *raftstore.Store, cfg coordinator.DriverConfig, log *slog.Logger, clock steadyClock) *leadership {
	return &leadership{store: store, cfg: cfg, log: log, clock: clock, wakeup: make(chan struct{}, 1)}
}

// observe takes a host's report; false if this node does not lead.
func (l *leadership) observe(r *internalv1.ReportStreamsRequest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driver == nil {
		return false
	}
	l.driver.Observe(l.clock.now(), r)
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
	return true
}

// answered looks at an answer that this leader gives to a proposal: who was refused
// because a checkpoint is pending gets the next turn.
func (l *leadership) answered(a answer) {
	e := a.result.GetError()
	if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, err := strconv.ParseUint(e.Metadata["checkpoint"], 10, 64); err == nil && l.driver != nil {
		l.driver.Yield(e.Metadata["job_id"], n)
	}
}

// leads tells whether the driver runs: everything that earlier leaders committed
// is applied.
func (l *leadership) leads() bool { return l.leadsIn() != 0 }

// leadsIn is the term in which this node leads, as leads tells it, 0 if it does not.
// No other node ever leads in that term.
func (l *leadership) leadsIn() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driver == nil {
		return 0
	}
	return l.term
}

// standbySlots counts the slots that wait for a job; 0 if this node does not
// lead.
func (l *leadership) standbySlots(m *coordinator.Machine, job string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driver == nil {
		return 0
	}
	return l.driver.StandbySlots(l.clock.now(), m, job)
}

// run leads whenever this node is the leader, until ctx ends.
func (l *leadership) run(ctx context.Context) {
	changes, stop := l.store.LeaderChanges()
	defer stop()
	for ctx.Err() == nil {
		if l.store.IsLeader() {
			l.lead(ctx, changes)
		}
		select {
		case <-changes:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// lead is one leadership. The driver begins only when everything that earlier
// leaders committed is applied here.
func (l *leadership) lead(ctx context.Context, changes <-chan struct{}) {
	term := l.store.Term()
	if err := l.store.Barrier(ctx); err != nil || l.store.Term() != term {
		return // of the same term before and behind it, the barrier proves that it is this node's
	}
	l.setDriver(coordinator.NewDriver(l.cfg, l.clock.now()), term)
	defer l.setDriver(nil, 0)
	l.log.Info("leading", "term", term)
	events, stop := l.store.Watch("")
	defer stop()
	tick := time.NewTicker(leadTick)
	defer tick.Stop()
	for l.store.IsLeader() {
		if cmds := l.step(); len(cmds) > 0 {
			applied, ok := l.propose(ctx, cmds)
			if !ok {
				return
			}
			if applied > 0 {
				continue
			}
		}
		select {
		case <-events:
		case <-l.wakeup:
		case <-changes:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *leadership) setDriver(d *coordinator.Driver, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.driver, l.term = d, term
}

func (l *leadership) step() (cmds []*internalv1.Command) {
	var members []string
	if l.store.ClusterVersion() < coordinator.MaxVersion {
		for _, m := range l.store.Members() {
			members = append(members, m.ID)
		}
	}
	l.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		l.mu.Lock()
		defer l.mu.Unlock()
		cmds = l.driver.Step(l.clock.now(), m)
		if c := m.ClusterVersionDue(members); c != nil {
			l.log.Info("every member supports a higher cluster version; raising it",
				"from", m.ClusterVersion(), "to", c.GetSetClusterVersion().GetVersion())
			cmds = append(cmds, c)
		}
	})
	return cmds
}

// propose applies the driver's commands and counts those that the machine took;
// false if this leadership is over. A command that the machine refused was
// overtaken by another entry: the next step sees why.
func (l *leadership) propose(ctx context.Context, cmds []*internalv1.Command) (applied int, ok bool) {
	for _, c := range cmds {
		if a := c.GetAbortCheckpoint(); a != nil {
			a.Jitter = 2*rand.Float64() - 1
		}
		r, _, err := l.store.Do(ctx, c)
		if errors.Is(err, raftstore.ErrOverloaded) || errors.Is(err, raftstore.ErrCommandTooLarge) {
			// The leadership goes on, and with it the driver's timers.
			l.log.Warn("a coordinator command was not taken", "err", err)
			continue
		}
		if err != nil {
			l.log.Info("no longer leading", "err", err)
			return applied, false
		}
		if r.GetError() != nil {
			l.log.Debug("a coordinator command was refused", "command", coordinator.CommandName(c), "reason", coordinator.ReasonName(r.Error.Reason), "message", r.Error.Message)
			continue
		}
		l.tell(c)
		applied++
	}
	return applied, true
}

// tell logs what a person looks for afterwards: who was given up, and why.
func (l *leadership) tell(c *internalv1.Command) {
	switch {
	case c.GetLoseSubtask() != nil:
		x := c.GetLoseSubtask()
		l.log.Warn("a subtask lost its process", "subtask", x.SubtaskId, "token", x.FencingToken, "why", x.Error.GetMessage())
	case c.GetLoseHost() != nil:
		x := c.GetLoseHost()
		l.log.Error("a node counts as lost, with the state of jobs without checkpoints; they are suspended", "node", x.NodeId, "incarnation", x.Incarnation, "why", x.Error.GetMessage())
	case c.GetAbortCheckpoint() != nil:
		x := c.GetAbortCheckpoint()
		l.log.Warn("a checkpoint was given up", "job", x.JobId, "checkpoint", x.CheckpointId, "why", x.Reason.GetMessage())
	}
}
