package slot

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// attempt is one life of a subtask. It belongs to the processing goroutine.
type attempt struct {
	slot   *Slot
	log    *slog.Logger
	assign *holdfastv1.Assign
	// restored is the operator state that it begins with, in pieces.
	restored []*holdfastv1.OperatorState
	id       uint64
	// token and gen are those of Assign or of the newest Resume: frames carry
	// the token and go out on that stream only.
	token uint64
	gen   uint64

	store  *workingcopy.Store
	task   Task
	poller *poller
	splits []source.Split
	// positions are the next offsets behind the record in hand, by split;
	// unresolved counts splits whose start is not known yet.
	positions  []source.Position
	unresolved bool

	lastSeq  uint64
	inFlight window
	// flushing: a flush has begun and goes on until nothing is dirty.
	flushing   bool
	dirtySince time.Time

	lastBarrier uint64
	seal        *seal
	// halted is the checkpoint behind whose cut nothing is processed until it is
	// decided, or 0.
	halted  uint64
	commits []commit

	outputs  []pendingOutput
	get      *openGet
	getID    uint64
	deferred []event
	// finished: Finished has its place behind the last flush.
	finished bool
	// failed: only the news of it is still to be told.
	failed bool
	// over: nothing of the attempt may go on.
	over bool
	// stopped is why a record in hand cannot end as it should.
	stopped error
	ctx     context.Context
	// slow is set by slowTimer where a batch takes long enough for its results
	// to be wanted before its end.
	slow      atomic.Bool
	slowTimer *time.Timer
	// userCode tells a panic of user code from one of this package.
	userCode bool
}

// window is what was sent and not acknowledged, in the order of seq.
type window struct {
	frames []frame
	bytes  int
}

func newAttempt(s *Slot, as *assignment) *attempt {
	a := &attempt{
		slot: s, assign: as.assign, restored: as.restored, id: as.assign.GetAttempt(),
		token: as.assign.GetFencingToken(), gen: as.gen,
		store: workingcopy.New(workingcopy.Options{
			MaxBytes: s.cfg.WorkingCopyBytes, CoPartitioned: as.assign.GetCoPartitioned(),
		}),
	}
	a.log = s.log.With("operator", as.assign.GetOperatorUid(), "subtask", as.assign.GetSubtaskIndex(), "attempt", a.id)
	for _, sp := range as.assign.GetSplits() {
		a.splits = append(a.splits, source.Split{
			Topic: sp.GetTopic(), Partition: sp.GetPartition(),
			StartOffset: sp.GetStartOffset(), Resolved: sp.StartOffset != nil,
		})
		a.positions = append(a.positions, source.Position{NextOffset: sp.GetStartOffset(), LeaderEpoch: -1})
		a.unresolved = a.unresolved || sp.StartOffset == nil
	}
	return a
}

// checkpoints tells that results are released by checkpoints, and not by each
// acknowledgement.
func (a *attempt) checkpoints() bool { return a.assign.GetCheckpointsEnabled() }

// run lives the attempt to its end.
func (a *attempt) run(ctx context.Context) {
	a.log.Info("assigned", "splits", len(a.splits), "restored", a.assign.GetRestoredCheckpointId())
	err := a.guarded(ctx)
	a.stop()
	var f *failure
	switch {
	case errors.Is(err, errOver):
		a.log.Info("the attempt is over")
	case errors.Is(err, errFinished):
		a.slot.lastFinished = a.id
		a.slot.session.release(a.id)
		a.log.Info("finished")
	case errors.Is(err, errDrain):
		a.drain()
	case errors.As(err, &f):
		a.fail(ctx, f)
	default:
		a.fail(ctx, internalFailure(err))
	}
	a.over = true
}

// guarded turns panics into failures: one bad record must not end the process
// and its other slots.
func (a *attempt) guarded(ctx context.Context) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		f := panicFailure(r, debug.Stack())
		if !a.userCode {
			f.class = holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL
			f.reason = holdfastv1.ErrorReason_ERROR_REASON_INTERNAL
		}
		err = f
	}()
	a.ctx = ctx
	a.userCode = true
	a.task, err = a.slot.cfg.Program.NewTask(&Runtime{a})
	a.userCode = false
	a.restored = nil // the task has it
	if err != nil {
		return userFailure(err)
	}
	src := a.slot.cfg.Sources[a.assign.GetOperatorUid()]
	if src == nil {
		return internalFailure(errors.New("this program has no source " + a.assign.GetOperatorUid()))
	}
	a.poller = startPoller(ctx, a, src)
	a.slowTimer = time.AfterFunc(time.Hour, func() {
		a.slow.Store(true)
		a.slot.inbox.poke()
	})
	defer a.slowTimer.Stop()
	return a.loop(ctx)
}

// stop ends the source and the user code. The reader closes in the background:
// nothing that it still reads is looked at.
func (a *attempt) stop() {
	if a.poller != nil {
		a.poller.cancel()
	}
	if a.task == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("Close panicked", "panic", r)
		}
	}()
	if err := a.task.Close(); err != nil {
		a.log.Error("Close failed", "error", err)
	}
}

// loop waits for what comes next: a message, a batch, or the time to flush.
func (a *attempt) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if err := a.attend(ctx); err != nil {
			return err
		}
		batches := a.poller.full
		if a.throttled() {
			batches = nil
		}
		if due, ok := a.flushTime(); ok {
			timer.Reset(time.Until(due))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-a.slot.inbox.wake:
		case <-timer.C:
		case p := <-batches:
			if err := a.handlePolled(ctx, p); err != nil {
				return err
			}
		}
	}
}

// throttled: no further record may be processed, or may change anything before
// some of what changed has left.
func (a *attempt) throttled() bool {
	return a.halts() || a.sinksFull() || a.store.UnflushedBytes() >= a.slot.cfg.DirtyBytes || !a.checkpoints() && a.flushing
}

// flushTime is when the oldest change gets too old.
func (a *attempt) flushTime() (time.Time, bool) {
	if a.dirtySince.IsZero() || a.flushing || a.seal != nil {
		return time.Time{}, false
	}
	return a.dirtySince.Add(a.slot.cfg.FlushDelay), true
}

// fail stops the attempt for the host too. The message must arrive under a token
// that is current, so a broken stream is waited for (rule 8.1).
func (a *attempt) fail(ctx context.Context, f *failure) {
	a.log.Error("the attempt failed", "class", f.class, "reason", ReasonName(f.reason), "error", f.err)
	a.failed, a.outputs = true, nil
	for !a.over {
		m := f.message(a.token)
		if a.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Failed{Failed: m}}) {
			a.slot.lastFailed = &failedAttempt{attempt: a.id, message: m}
			a.slot.session.release(a.id)
			return
		}
		if err := a.wait(ctx); err != nil {
			return
		}
	}
}

// drain gives what was done a moment to become durable and visible (rule 8.3).
func (a *attempt) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), a.slot.drainWithin)
	defer cancel()
	err := a.endBatch(ctx)
	for err == nil && len(a.outputs) > 0 {
		err = a.wait(ctx)
	}
	if err == nil {
		err = a.settleSinks(ctx)
	}
	if err != nil && !a.over {
		a.log.Warn("stopping without the last acknowledgements", "error", err)
	}
}

func (a *attempt) send(m *holdfastv1.OperatorMessage) bool {
	return a.slot.session.send(a.gen, m)
}
