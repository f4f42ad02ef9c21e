package slot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	protocolVersion = 1
	minBackoff      = 50 * time.Millisecond
	maxBackoff      = time.Second
	// defaultSessionTimeout also bounds the wait for Welcome, which tells the one
	// that counts.
	defaultSessionTimeout = 15 * time.Second
	// logEvery keeps a long outage from filling the log.
	logEvery = 10 * time.Second
)

// errAgain ends a stream that is to be followed by another one at once.
var errAgain = errors.New("the stream is to be opened anew")

// session opens streams, one after the other, and reads them. The processing
// goroutine sends through it, and names the stream that it means.
type session struct {
	cfg        Config
	instanceID string
	inbox      *inbox
	log        *slog.Logger
	finders    finders

	// sendMu serializes sends, and guards the stream and its number.
	sendMu  sync.Mutex
	stream  grpc.BidiStreamingClient[holdfastv1.OperatorMessage, holdfastv1.HostMessage]
	gen     uint64
	closing bool

	// mu guards what the reading and the processing goroutine both know of the
	// attempt: it must be known to say Hello.resume while user code runs.
	mu      sync.Mutex
	attempt uint64
	token   uint64

	// What follows belongs to the goroutine of run.
	next     int // of the address list
	failures int // streams in a row that ended before an echo or a FlushAck
	loggedAt time.Time
}

func newSession(cfg Config, instanceID string, in *inbox, log *slog.Logger) *session {
	return &session{cfg: cfg, instanceID: instanceID, inbox: in, log: log}
}

// run opens streams until the job has ended, the slot is told to stop, or an
// error ends it all, which goes to the inbox.
func (s *session) run(ctx context.Context) {
	for ctx.Err() == nil && !s.isClosing() {
		address := s.cfg.Addresses.At(s.next)
		err := s.connect(ctx, address)
		switch fatal := (*FatalError)(nil); {
		case err == nil || ctx.Err() != nil:
			return
		case errors.As(err, &fatal):
			s.inbox.put(event{fatal: fatal})
			return
		}
		s.next++
		if leave := (goAway{}); errors.As(err, &leave) && leave.address != "" {
			s.next = s.cfg.Addresses.Index(leave.address)
		}
		if errors.Is(err, errAgain) && s.failures == 0 {
			s.log.Info("leaving the node", "address", address, "reason", err)
			s.failures = 1
			continue
		}
		s.logFailure(address, err)
		s.backOff(ctx)
	}
}

// goAway is an errAgain that may name the node to go to.
type goAway struct{ address string }

// Error implements error.
func (goAway) Error() string { return errAgain.Error() }

// Unwrap returns errAgain.
func (goAway) Unwrap() error { return errAgain }

func (s *session) logFailure(address string, err error) {
	if time.Since(s.loggedAt) < logEvery && s.failures > 0 {
		return
	}
	s.loggedAt = time.Now()
	s.log.Warn("no stream, trying again", "address", address, "error", err)
}

// backOff waits once every address has failed; the first break of a stream that
// had an echo is followed up at once (rule 3.5).
func (s *session) backOff(ctx context.Context) {
	s.failures++
	rounds := s.failures - s.cfg.Addresses.Len() - 1
	if rounds < 0 {
		return
	}
	wait := min(minBackoff<<min(rounds, 10), maxBackoff)
	wait = wait/2 + rand.N(wait/2+1)
	select {
	case <-time.After(max(wait, minBackoff)):
	case <-ctx.Done():
	}
}

// connect runs one stream to its end. Nil: there is nothing more to do.
func (s *session) connect(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := s.cfg.Dial(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	defer conn.Close()
	// The watchdog ends the stream where no answer comes; it is set anew by
	// Welcome and by each echo (rule 3.3).
	watchdog := time.AfterFunc(defaultSessionTimeout, func() {
		cancel(errors.New("the node does not answer"))
	})
	defer watchdog.Stop()
	stream, err := holdfastv1.NewOperatorServiceClient(conn).Run(ctx)
	if err != nil {
		return streamError(ctx, err)
	}
	if err := stream.Send(s.hello()); err != nil && !errors.Is(err, io.EOF) {
		return streamError(ctx, err)
	}
	r := reader{session: s, stream: stream, watchdog: watchdog, address: address}
	defer s.detach()
	return r.read(ctx)
}

func (s *session) hello() *holdfastv1.OperatorMessage {
	h := &holdfastv1.Hello{
		ProtocolVersion: protocolVersion,
		ClientName:      s.cfg.ClientName,
		ClientVersion:   s.cfg.Version,
		JobId:           s.cfg.JobID,
		OperatorUids:    s.cfg.OperatorUIDs,
		InstanceId:      s.instanceID,
		ProcessId:       s.cfg.ProcessID,
	}
	if attempt := s.heldAttempt(); attempt != 0 {
		h.Resume = &holdfastv1.ResumeAttempt{Attempt: attempt}
	}
	return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Hello{Hello: h}}
}

// attach makes a welcomed stream the one to send on.
func (s *session) attach(stream grpc.BidiStreamingClient[holdfastv1.OperatorMessage, holdfastv1.HostMessage]) uint64 {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.gen++
	s.stream = stream
	if s.closing {
		_ = stream.CloseSend() // it never fails on a client's stream
	}
	return s.gen
}

// detach: nothing more is sent on the stream.
func (s *session) detach() {
	s.finders.stop()
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if s.stream != nil {
		_ = s.stream.CloseSend()
	}
	s.stream = nil
}

// send sends on stream gen and returns false if that is gone. A true says only
// that the message left; what must arrive is kept until it is acknowledged.
func (s *session) send(gen uint64, m *holdfastv1.OperatorMessage) bool {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if s.stream == nil || s.gen != gen || s.closing {
		return false
	}
	return s.stream.Send(m) == nil
}

// halfClose tells the node that nothing more comes (rule 8.3).
func (s *session) halfClose() {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.closing = true
	if s.stream != nil {
		_ = s.stream.CloseSend()
	}
}

func (s *session) isClosing() bool {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.closing
}

func (s *session) heldAttempt() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt
}

func (s *session) hold(attempt, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt, s.token = attempt, token
}

// holdsToken tells whether a message down is about the attempt that is held now
// (rule 3.8).
func (s *session) holdsToken(token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt != 0 && s.token == token
}

// release forgets the attempt, unless another one has come meanwhile.
func (s *session) release(attempt uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt == attempt {
		s.attempt, s.token = 0, 0
	}
}
