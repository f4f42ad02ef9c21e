package stateserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Frames of a stream whose job's backend is on hosts go to the working state
// here instead of the log, and are acknowledged when they are applied.

// getLoad is the Gets of an attempt that wait for its working state.
type getLoad struct{ count, bytes atomic.Int64 }

// openState gives the attempt its working state, beside the stream, and then the
// attempt to the client. The caller holds mu.
func (x *session) openState(f facts) {
	token, ctx := x.hold.token, x.hold.ctx
	x.hold.opening, x.hold.gets = true, &getLoad{}
	if id := f.assign.RestoredCheckpointId; id != 0 {
		x.log.Info("restoring the state of a subtask", "token", token, "subtask", f.assign.SubtaskIndex, "checkpoint", id)
	}
	x.s.goRun(func() {
		h, err := x.openHosted(ctx, f.subtask.ID, token)
		var restored []*holdfastv1.RestoredOperatorState
		if err == nil {
			restored, err = x.operatorState(ctx, f, token)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.hold.subtask == 0 || x.hold.token != token {
			if h != nil {
				go x.s.states.letGo(h, token)
			}
			return
		}
		x.hold.host = h // also if it is of no use: drop lets it go
		f.restored = restored
		if err != nil {
			x.openFailed(ctx, token, err)
			return
		}
		x.hold.opening = false
		x.assigned(f)
	})
}

// loadState fills the log's state of an attempt that begins from a snapshot, and then
// gives the attempt to the client. The caller holds mu.
func (x *session) loadState(f facts) {
	token, ctx := x.hold.token, x.hold.ctx
	x.hold.opening = true
	x.log.Info("loading the state of a subtask into the log", "token", token, "subtask", f.assign.SubtaskIndex, "checkpoint", f.assign.RestoredCheckpointId)
	x.s.goRun(func() {
		err := x.fillLog(ctx, f.subtask.ID, token)
		if err == nil {
			f.restored, err = x.operatorState(ctx, f, token)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		switch {
		case x.hold.subtask == 0 || x.hold.token != token:
		case err != nil:
			x.openFailed(ctx, token, err)
		default:
			x.hold.opening = false
			x.assigned(f)
		}
	})
}

func (x *session) fillLog(ctx context.Context, subtask, token uint64) error {
	sub, err := x.s.states.subjectOf(subtask, token)
	if err != nil {
		return err
	}
	log := x.log.With("subtask", subtask, "checkpoint", sub.restore.CheckpointID)
	_, err = retryRestore(ctx, log, sub, time.Now(), func() (struct{}, error) { return struct{}{}, x.s.states.fillLog(ctx, sub) })
	return err
}

// assigned gives an attempt to the client. The caller holds mu.
func (x *session) assigned(f facts) {
	f.assign.OperatorStateMessages = uint32(len(f.restored))
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Assign{Assign: f.assign}})
	for _, r := range f.restored {
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_RestoredOperatorState{RestoredOperatorState: r}})
	}
	x.log.Info("assigned", "token", x.hold.token, "subtask", f.assign.SubtaskIndex, "restored_checkpoint", f.assign.RestoredCheckpointId)
	x.poke() // barriers have waited
}

func (x *session) openHosted(ctx context.Context, subtask, token uint64) (*hosted, error) {
	sub, err := x.s.states.subjectOf(subtask, token)
	if err != nil {
		return nil, err
	}
	return x.s.states.open(ctx, sub)
}

// openFailed tells the log that the attempt cannot begin. The caller holds mu.
func (x *session) openFailed(ctx context.Context, token uint64, err error) {
	var r errRestore
	var no refused
	if ctx.Err() != nil || errors.Is(err, errGone) || errors.As(err, &no) && no.e.Reason == holdfastv1.ErrorReason_ERROR_REASON_FENCED {
		return // follow tells the client what became of the attempt
	}
	e := coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, "the working state could not be opened: "+err.Error())
	if errors.As(err, &r) {
		e = r.e
	} else if no.e != nil {
		e = no.e
	}
	x.log.Error("an attempt cannot begin", "token", token, "err", e.Message)
	x.failAttempt(x.hold, holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL, e)
}

// failAttempt reports a failure of the host's for an attempt.
func (x *session) failAttempt(h held, class holdfastv1.FailureClass, e *holdfastv1.Error) {
	x.submit(&internalv1.Command{Command: &internalv1.Command_FailSubtask{FailSubtask: &internalv1.FailSubtask{
		SubtaskId: h.subtask, FencingToken: h.token, FailureClass: class, Error: clip(e), TimeMs: x.s.clock.now().UnixMilli(), Jitter: jitter(),
	}}})
}

// jitter is what a restart strategy spreads restarts by.
func jitter() float64 { return 2*rand.Float64() - 1 }

// flushOnHost applies a flush to the working state. The caller holds mu.
func (x *session) flushOnHost(f *holdfastv1.Flush) {
	h, came := x.hold, time.Now()
	sections := make([]keyed.Section, len(f.Sections))
	for i, s := range f.Sections {
		sections[i] = raftstore.KeyedSection(s)
	}
	h.host.submit(h.token, func(st backend.State) {
		e := h.host.apply(st, sections, x.s.clock.now().UnixMilli())
		if e == nil {
			x.s.metrics.flushAnswered(came)
		}
		x.answeredOnHost(h, f.Seq, e)
	})
}

// readyOnHost takes the cut of a checkpoint behind every flush before it. The caller
// holds mu.
func (x *session) readyOnHost(f *holdfastv1.CheckpointReady, state operatorStatePart) {
	if f.CheckpointId <= x.hold.readied {
		x.fail(violation("6.3", fmt.Sprintf("CheckpointReady for checkpoint %d, and there was one for %d; there is one for each, in their order", f.CheckpointId, x.hold.readied)))
		return
	}
	x.hold.readied = f.CheckpointId
	h := x.hold
	r := &ready{token: h.token, checkpoint: f.CheckpointId, positions: f.Positions, times: h.times, operatorState: state}
	h.host.submit(h.token, func(st backend.State) {
		var e *holdfastv1.Error
		if err := h.host.cut(st, r); err != nil {
			e = h.host.failed(err)
		}
		x.answeredOnHost(h, f.Seq, e)
	})
}

// finishOnHost ends the subtask behind every frame before it. The caller holds mu.
func (x *session) finishOnHost(f *holdfastv1.Finished, state operatorStatePart) {
	h := x.hold
	h.host.submit(h.token, func(st backend.State) {
		x.answeredOnHost(h, f.Seq, h.host.finish(h.ctx, st, h.token, f.Positions, state))
	})
}

// answeredOnHost tells the client what became of a frame.
func (x *session) answeredOnHost(h held, seq uint64, e *holdfastv1.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold.subtask == 0 || x.hold.token != h.token {
		return
	}
	switch {
	case e == nil:
		x.hold.flying.ackThrough(seq)
		x.ackThrough(seq)
	case h.ctx.Err() != nil, e.Reason == holdfastv1.ErrorReason_ERROR_REASON_FENCED:
		// follow tells the client what became of the attempt
	default:
		x.refuse(h, seq, e)
	}
}

// refuse fails an attempt for a frame that cannot be taken, and tells the client. The
// caller holds mu.
func (x *session) refuse(h held, seq uint64, e *holdfastv1.Error) {
	x.log.Error("a frame was refused", "token", h.token, "seq", seq, "reason", coordinator.ReasonName(e.Reason))
	x.failAttempt(h, holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL, e)
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Refused{Refused: &holdfastv1.Refused{
		FencingToken: h.token, Seq: seq, Error: e}}})
	x.drop()
}

// getOnHost queues a Get behind the frames before it. The caller holds mu.
func (x *session) getOnHost(g *holdfastv1.Get) {
	h, size := x.hold, int64(proto.Size(g))
	if waiting := h.gets.bytes.Load(); h.gets.count.Load() >= maxGetsOpen || waiting > 0 && waiting+size > maxGetBytesOpen {
		x.fail(tooManyGets(g, h.gets.count.Load(), waiting))
		return
	}
	h.gets.count.Add(1)
	h.gets.bytes.Add(size)
	c := &getCall{get: g, size: size, subtask: h.subtask, ctx: h.ctx, came: time.Now(), failed: func(err error) { x.getFailed(h, g, err) }}
	h.host.submit(h.token, func(st backend.State) {
		c.state = st
		x.answerGet(c)
		h.gets.count.Add(-1)
		h.gets.bytes.Add(-size)
	})
}

// getFailed ends the stream of a client that asked for what cannot be, or else the
// attempt: its state is not to be relied on.
func (x *session) getFailed(h held, g *holdfastv1.Get, err error) {
	if keyed.Refusal(err) {
		x.fail(badGet(g, err))
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold.subtask == 0 || x.hold.token != h.token {
		return
	}
	x.log.Error("a state backend failed", "token", h.token, "err", err)
	// The entry takes the attempt from the stream, and follow tells the client.
	x.failAttempt(h, holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL, h.host.failed(err))
}

func tooManyGets(g *holdfastv1.Get, open, bytes int64) *holdfastv1.Error {
	return violation("5.2", fmt.Sprintf("Get %d: %d Gets with %d bytes are open already, at most %d and %d are allowed; wait for Values",
		g.RequestId, open, bytes, maxGetsOpen, maxGetBytesOpen))
}

// goHome asks a standby that cannot get anything here to go where the state of a
// waiting subtask is. The caller holds mu.
func (x *session) goHome(f facts) {
	if f.home == "" || x.sentHome {
		return
	}
	x.sentHome = true
	x.log.Info("the state of a subtask is on another node; sending the stream there", "address", f.home)
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_GoAway{GoAway: &holdfastv1.GoAway{
		Reason:  coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the state of the subtask that waits is on another node"),
		Address: f.home,
	}}})
}
