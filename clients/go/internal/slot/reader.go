package slot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// reader reads one stream. It answers what needs no user code and passes the
// rest to the inbox.
type reader struct {
	session  *session
	stream   grpc.BidiStreamingClient[holdfastv1.OperatorMessage, holdfastv1.HostMessage]
	watchdog *time.Timer
	address  string

	gen            uint64
	welcomed       bool
	sessionTimeout time.Duration
	// assigning is an assignment whose operator state is still coming.
	assigning *assigning
}

func (r *reader) read(ctx context.Context) error {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) && r.session.isClosing() {
				return nil
			}
			return streamError(ctx, err)
		}
		done, err := r.handle(ctx, m)
		if done || err != nil {
			return err
		}
	}
}

// handle returns true after the last message, an error where the stream is to
// be followed by another one.
func (r *reader) handle(ctx context.Context, msg *holdfastv1.HostMessage) (bool, error) {
	if w, ok := msg.GetMessage().(*holdfastv1.HostMessage_Welcome); ok {
		if !r.welcomed {
			r.welcome(ctx, w.Welcome)
		}
		return false, nil
	}
	if m, ok := msg.GetMessage().(*holdfastv1.HostMessage_JobEnded); ok {
		r.session.log.Info("job ended", "status", m.JobEnded.GetStatus())
		r.pass(msg)
		return true, nil
	}
	if !r.welcomed {
		return false, fmt.Errorf("the node sent %T before Welcome", msg.GetMessage())
	}
	switch m := msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_HeartbeatEcho:
		r.watchdog.Reset(r.sessionTimeout)
		r.session.failures = 0
	case *holdfastv1.HostMessage_DiscoverSplits:
		r.session.finders.start(ctx, r, m.DiscoverSplits)
	case *holdfastv1.HostMessage_GoAway:
		r.session.log.Info("the node asks to leave", "address", r.address, "reason", m.GoAway.GetReason().GetMessage())
		return false, fmt.Errorf("GoAway: %w", goAway{m.GoAway.GetAddress()})
	default:
		return false, r.handleAttempt(msg)
	}
	return false, nil
}

// handleAttempt follows which attempt the slot holds, so that a Hello.resume
// names the right one while user code runs, and passes the message on.
func (r *reader) handleAttempt(msg *holdfastv1.HostMessage) error {
	s := r.session
	switch m := msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_Assign:
		r.assigned(msg, m.Assign)
		return nil
	case *holdfastv1.HostMessage_RestoredOperatorState:
		r.restored(m.RestoredOperatorState)
		return nil
	case *holdfastv1.HostMessage_Resume:
		if m.Resume.GetAttempt() == s.heldAttempt() {
			s.hold(m.Resume.GetAttempt(), m.Resume.GetFencingToken())
		}
	case *holdfastv1.HostMessage_Fenced:
		return r.fenced(msg, m.Fenced)
	case *holdfastv1.HostMessage_Revoke:
		if s.holdsToken(m.Revoke.GetFencingToken()) {
			s.release(s.heldAttempt())
		}
	case *holdfastv1.HostMessage_FlushAck:
		if s.holdsToken(m.FlushAck.GetFencingToken()) {
			s.failures = 0 // something got on
		}
	case *holdfastv1.HostMessage_Refused:
		if s.holdsToken(m.Refused.GetFencingToken()) {
			s.release(s.heldAttempt())
		}
	}
	r.pass(msg)
	return nil
}

// fenced is rule 7.3. Attempts are indexes of the log, so a lower one than the
// slot's own was current before it and says nothing about it.
func (r *reader) fenced(msg *holdfastv1.HostMessage, f *holdfastv1.Fenced) error {
	held := r.session.heldAttempt()
	switch {
	case held == 0, f.GetAttempt() != 0 && f.GetAttempt() < held:
		return nil
	case f.GetAttempt() == held:
		return fmt.Errorf("the attempt has another token: %w", errAgain)
	}
	r.session.release(held)
	r.pass(msg)
	return nil
}

func (r *reader) pass(msg *holdfastv1.HostMessage) {
	r.session.inbox.put(event{gen: r.gen, msg: msg})
}

func (r *reader) welcome(ctx context.Context, w *holdfastv1.Welcome) {
	s := r.session
	r.welcomed = true
	s.cfg.Addresses.Add(w.GetAddresses())
	r.sessionTimeout = millis(w.GetSessionTimeoutMs(), defaultSessionTimeout)
	r.watchdog.Reset(r.sessionTimeout)
	r.gen = s.attach(r.stream)
	s.inbox.put(event{gen: r.gen, welcome: w})
	s.log.Info("connected", "address", r.address, "node", w.GetNodeId(), "session", w.GetSessionId())
	go s.heartbeat(ctx, r.gen, millis(w.GetHeartbeatIntervalMs(), 3*time.Second))
}

// heartbeat sends from a goroutine that user code cannot block (rule 3.3).
func (s *session) heartbeat(ctx context.Context, gen uint64, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for sequence := uint64(1); ; sequence++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.send(gen, &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{
			Heartbeat: &holdfastv1.Heartbeat{Sequence: sequence},
		}})
	}
}

func millis(ms uint32, otherwise time.Duration) time.Duration {
	if ms == 0 {
		return otherwise
	}
	return time.Duration(ms) * time.Millisecond
}
