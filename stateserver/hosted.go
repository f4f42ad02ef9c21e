package stateserver

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// hostedQueue is more than a stream may have open at a time, so that its reader
// never waits for the state.
const hostedQueue = 256

// hosted is the working state of one attempt, or of a subtask without checkpoints
// for all its attempts. One goroutine does what the owner's stream asks for, in the
// order of the stream; a task of anyone else than the owner is not begun (rule H3).
type hosted struct {
	m           *hostStates
	log         *slog.Logger
	jobID       string
	subtask     uint64
	token       uint64 // of the attempt that it was opened for
	origin      uint64 // of the home; 0 with checkpoints
	checkpoints bool
	config      *holdfastv1.CheckpointConfig
	names       map[uint32]string // of states, for people
	stateIDs    []uint32
	space       keyed.SpaceConfig

	// owner is the token whose tasks are done; 0: nobody's.
	owner atomic.Uint64
	tasks chan task
	// asks are what tools want done, one at a time: they take no room from the stream,
	// whose reader must never wait.
	asks  chan func(st backend.State)
	ctx   context.Context // ends with close
	stop  context.CancelFunc
	ended chan struct{} // the goroutine is done

	// flushed counts keys and values of changes since the last ack.
	flushed atomic.Uint64

	mu     sync.Mutex
	upload *upload // nil: none is under way
}

// task is something to do with a state, for the owner with a token.
type task struct {
	token uint64
	do    func(st backend.State)
}

func newHosted(m *hostStates, sub *subject, st backend.State) *hosted {
	ctx, stop := context.WithCancel(m.s.ctx)
	h := &hosted{
		m: m, jobID: sub.view.JobID, subtask: sub.view.ID, token: sub.view.Token, checkpoints: sub.view.CheckpointsEnabled,
		config: sub.spec.Checkpoint, space: sub.space, names: map[uint32]string{}, tasks: make(chan task, hostedQueue), asks: make(chan func(backend.State)), ctx: ctx, stop: stop, ended: make(chan struct{}),
		log: m.log.With("job", sub.view.JobID, "subtask", sub.view.ID, "backend", sub.view.Backend),
	}
	if !h.checkpoints {
		h.origin = sub.view.Home.Origin
	}
	for _, id := range sub.states {
		h.names[id.Id] = fmt.Sprintf("state %q of operator %q", id.StateName, id.OperatorUid)
		h.stateIDs = append(h.stateIDs, id.Id)
	}
	h.owner.Store(sub.view.Token)
	go h.run(st)
	return h
}

// run does tasks until close.
func (h *hosted) run(st backend.State) {
	defer close(h.ended)
	defer func() {
		h.endUpload()
		if err := st.Close(); err != nil {
			h.log.Warn("a state could not be closed", "err", err)
		}
	}()
	for {
		select {
		case t := <-h.tasks:
			if t.token == h.owner.Load() {
				t.do(st)
			}
		case do := <-h.asks:
			do(st)
		case <-h.ctx.Done():
			return
		}
	}
}

// submit queues a task of an attempt.
func (h *hosted) submit(token uint64, do func(st backend.State)) {
	select {
	case h.tasks <- task{token, do}:
	case <-h.ended:
	}
}

// ask runs something for a tool, between two frames.
func (h *hosted) ask(ctx context.Context, do func(st backend.State)) error {
	done := make(chan struct{})
	run := func(st backend.State) {
		defer close(done)
		do(st)
	}
	select {
	case h.asks <- run:
	case <-h.ended:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-h.ended:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// move makes another attempt the owner, once the frame that the old one has in hand
// is done; those behind it are not begun (rule H4).
func (h *hosted) move(ctx context.Context, token uint64) error {
	h.owner.Store(0)
	if err := h.ask(ctx, func(backend.State) { h.dropTasks() }); err != nil {
		return err
	}
	h.owner.Store(token)
	return nil
}

// dropTasks makes room: nothing of what waits will be begun.
func (h *hosted) dropTasks() {
	for {
		select {
		case <-h.tasks:
		default:
			return
		}
	}
}

// close ends the state after the task in hand, and waits for it.
func (h *hosted) close() {
	h.owner.Store(0)
	h.stop()
	<-h.ended
}

// apply applies a flush. The error is what the client is told; it ends the attempt.
func (h *hosted) apply(st backend.State, sections []keyed.Section, nowMs int64) *holdfastv1.Error {
	err := st.Apply(sections, nowMs)
	if err == nil {
		var n int
		for i := range sections {
			n += len(sections[i].Keys) + len(sections[i].Values)
		}
		h.flushed.Add(uint64(n))
		return nil
	}
	if keyed.Refusal(err) {
		e := raftstore.FlushRefusal(err)
		if id, parse := strconv.ParseUint(e.Metadata["state_id"], 10, 32); parse == nil {
			e.Message = h.names[uint32(id)] + ": " + e.Message
		}
		return e
	}
	h.log.Error("a state backend failed", "err", err)
	return h.failed(err)
}

// failed is the error of a state that can not be used any more.
func (h *hosted) failed(err error) *holdfastv1.Error {
	reason := holdfastv1.ErrorReason_ERROR_REASON_INTERNAL
	if !h.checkpoints {
		reason = holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST
	}
	return coordinator.Failure(reason, "the state backend failed: "+err.Error())
}

// bytes is the size of all states.
func (h *hosted) bytes(st backend.State) (total uint64) {
	for _, id := range h.stateIDs {
		if n, _, err := st.Bytes(id); err == nil {
			total += uint64(n)
		}
	}
	return total
}
