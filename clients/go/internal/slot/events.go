package slot

import (
	"context"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// nextEvent takes what was put off first, so that messages keep their order.
func (a *attempt) nextEvent() (event, bool) {
	if len(a.deferred) > 0 {
		e := a.deferred[0]
		a.deferred = a.deferred[1:]
		return e, true
	}
	return a.slot.nextEvent()
}

// attend handles every message there is, between two records, and sends what
// may be sent.
func (a *attempt) attend(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return errDrain
		}
		e, ok := a.nextEvent()
		if !ok {
			a.pump()
			return a.checkSinks()
		}
		if err := a.handle(e); err != nil {
			return err
		}
	}
}

// wait handles one message, between two records, or the news of a sink, and sends
// what that allows.
func (a *attempt) wait(ctx context.Context) error {
	for woken := false; ; woken = true {
		if e, ok := a.nextEvent(); ok {
			if err := a.handle(e); err != nil {
				return err
			}
			if !a.failed {
				a.pump()
			}
			return nil
		}
		if woken && !a.failed && a.hasSinks() {
			a.pump()
			return a.checkSinks()
		}
		select {
		case <-a.slot.inbox.wake:
		case <-ctx.Done():
			return errDrain
		}
		if ctx.Err() != nil {
			return errDrain
		}
	}
}

// handle handles one event. errOver: the attempt is not the slot's any more.
func (a *attempt) handle(e event) error {
	switch {
	case e.fatal != nil:
		a.slot.fatal = e.fatal
		return a.end()
	case e.welcome != nil:
		a.slot.limits = limitsFrom(e.welcome.GetLimits())
		return nil
	}
	switch m := e.msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_Assign:
		a.slot.next = &assignment{e.gen, m.Assign, e.restored}
		return a.end()
	case *holdfastv1.HostMessage_JobEnded:
		a.slot.ended = m.JobEnded
		return a.end()
	case *holdfastv1.HostMessage_Fenced:
		// The reading goroutine let it pass, so it names another attempt.
		return a.end()
	case *holdfastv1.HostMessage_Resume:
		return a.resume(e.gen, m.Resume)
	}
	return a.handleCurrent(e.msg)
}

// handleCurrent handles what counts only under the token that is held (rule 3.8).
func (a *attempt) handleCurrent(msg *holdfastv1.HostMessage) error {
	if t, ok := tokenOf(msg); !ok || !a.current(t) {
		return nil
	}
	switch m := msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_FlushAck:
		return a.acknowledge(m.FlushAck.GetThroughSeq())
	case *holdfastv1.HostMessage_Values:
		return a.values(m.Values)
	case *holdfastv1.HostMessage_Barrier:
		return a.barrier(m.Barrier)
	case *holdfastv1.HostMessage_CheckpointComplete:
		a.decided(m.CheckpointComplete.GetCheckpointId())
	case *holdfastv1.HostMessage_CheckpointAborted:
		a.aborted(m.CheckpointAborted.GetCheckpointId())
	case *holdfastv1.HostMessage_Revoke:
		a.log.Warn("revoked", "reason", m.Revoke.GetReason().GetMessage())
		return a.end()
	case *holdfastv1.HostMessage_Refused:
		a.log.Error("a flush was refused", "seq", m.Refused.GetSeq(), "reason",
			ReasonName(m.Refused.GetError().GetReason()), "error", m.Refused.GetError().GetMessage())
		return a.end()
	}
	return nil
}

// end: the attempt is over; what it holds back is never seen.
func (a *attempt) end() error {
	a.over = true
	a.outputs = nil
	return errOver
}

// tokenOf is the token that a message down carries.
func tokenOf(msg *holdfastv1.HostMessage) (uint64, bool) {
	switch m := msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_FlushAck:
		return m.FlushAck.GetFencingToken(), true
	case *holdfastv1.HostMessage_Values:
		return m.Values.GetFencingToken(), true
	case *holdfastv1.HostMessage_Barrier:
		return m.Barrier.GetFencingToken(), true
	case *holdfastv1.HostMessage_CheckpointComplete:
		return m.CheckpointComplete.GetFencingToken(), true
	case *holdfastv1.HostMessage_CheckpointAborted:
		return m.CheckpointAborted.GetFencingToken(), true
	case *holdfastv1.HostMessage_Revoke:
		return m.Revoke.GetFencingToken(), true
	case *holdfastv1.HostMessage_Refused:
		return m.Refused.GetFencingToken(), true
	}
	return 0, false
}

// resume goes on under a new token (rule 7.2).
func (a *attempt) resume(gen uint64, r *holdfastv1.Resume) error {
	if r.GetAttempt() != a.id {
		return nil
	}
	a.token, a.gen = r.GetFencingToken(), gen
	a.log.Info("resumed", "token", a.token, "last_seq", r.GetLastSeq(), "unacknowledged", len(a.inFlight.frames))
	if err := a.acknowledge(r.GetLastSeq()); err != nil {
		return err
	}
	for _, f := range a.resend() {
		if !a.sendFrame(f) {
			// The stream is gone again; the next resume starts anew.
			return nil
		}
	}
	if a.get != nil {
		a.get.request.Restart()
		a.ask()
	}
	a.decided(r.GetLatestCompletedId())
	return nil
}
