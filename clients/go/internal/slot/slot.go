// Package slot is the client's side of one stream of OperatorService.Run: a
// slot opens the stream, keeps it, runs at most one attempt of a subtask on it,
// and goes on with that attempt over broken streams. docs/protocol.md is its
// specification; comments name its rules by number.
//
// A slot has one goroutine that owns everything of the attempt (this is where
// user code runs), one that opens streams and reads, one that sends heartbeats,
// and one that polls the source. They meet in an inbox and in a session that
// knows which stream is current.
package slot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Config is what a slot needs to know.
type Config struct {
	Dial         Dialer
	Addresses    *Addresses
	JobID        string
	OperatorUIDs []string
	ProcessID    string
	ClientName   string
	Version      string
	// Sources by operator uid.
	Sources map[string]source.Source
	Program Program
	Logger  *slog.Logger
	// WorkingCopyBytes is where clean entries begin to be evicted.
	WorkingCopyBytes int
	// DirtyBytes of unflushed changes force a flush, and stop the processing
	// until some of it is gone.
	DirtyBytes int
	// FlushDelay is how old the oldest unflushed change may get.
	FlushDelay time.Duration
	// BatchRecords is the most that one poll takes.
	BatchRecords int
}

// WithDefaults fills what is zero.
func (c Config) WithDefaults() Config {
	if c.WorkingCopyBytes == 0 {
		c.WorkingCopyBytes = 64 << 20
	}
	if c.DirtyBytes == 0 {
		c.DirtyBytes = 16 << 20
	}
	if c.FlushDelay == 0 {
		c.FlushDelay = time.Second
	}
	if c.BatchRecords == 0 {
		c.BatchRecords = 1024
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Slot is one slot. Run is called once.
type Slot struct {
	cfg     Config
	log     *slog.Logger
	inbox   *inbox
	session *session
	// drainWithin bounds what is still waited for once the slot is told to stop.
	drainWithin time.Duration

	// What follows belongs to the goroutine of Run.
	limits limits
	// queue is what was taken from the inbox and not yet handled.
	queue []event
	// next is an assignment that waits until the attempt before it is gone.
	next *assignment
	// lastFailed was sent for the attempt that failed last, lastFinished is the
	// one that finished last: a resume that crosses them is answered by them.
	lastFailed   *failedAttempt
	lastFinished uint64
	ended        *holdfastv1.JobEnded
	fatal        error
	// readers counts pollers that are still closing their readers.
	readers sync.WaitGroup
}

type assignment struct {
	gen      uint64
	assign   *holdfastv1.Assign
	restored []*holdfastv1.OperatorState
}

type failedAttempt struct {
	attempt uint64
	message *holdfastv1.Failed
}

// New makes a slot with a random instance id.
func New(cfg Config) *Slot {
	cfg = cfg.WithDefaults()
	s := &Slot{cfg: cfg, inbox: newInbox(), limits: defaultLimits(), drainWithin: 3 * time.Second}
	id := RandomID()
	s.log = cfg.Logger.With("slot", id[:8])
	s.session = newSession(cfg, id, s.inbox, s.log)
	return s
}

// RandomID is 32 random hexadecimal digits.
func RandomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Run runs the slot until the job ends, an error that trying again cannot heal
// (*FatalError), or ctx ends, which finishes the record in hand first (rule 8.3).
func (s *Slot) Run(ctx context.Context) (*holdfastv1.JobEnded, error) {
	stop := context.AfterFunc(ctx, s.inbox.poke)
	defer stop()
	// The session outlives ctx, so that what was done can still be flushed.
	sessionCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.session.run(sessionCtx)
	}()
	s.process(ctx)
	s.session.halfClose()
	select {
	case <-closed:
	case <-time.After(time.Second):
	}
	cancel()
	<-closed
	s.waitForReaders()
	switch {
	case s.ended != nil:
		return s.ended, nil
	case s.fatal != nil:
		return nil, s.fatal
	}
	return nil, ctx.Err()
}

// waitForReaders gives readers of dropped attempts a moment to close, so that
// the process does not end in the middle of it.
func (s *Slot) waitForReaders() {
	done := make(chan struct{})
	go func() {
		s.readers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		s.log.Warn("a source did not close in time")
	}
}

// process is the goroutine of user code: it stands by, and runs what it is
// assigned.
func (s *Slot) process(ctx context.Context) {
	for ctx.Err() == nil && s.ended == nil && s.fatal == nil {
		if s.next != nil {
			a := newAttempt(s, s.next)
			s.next = nil
			a.run(ctx)
			continue
		}
		e, ok := s.nextEvent()
		if !ok {
			select {
			case <-s.inbox.wake:
			case <-ctx.Done():
			}
			continue
		}
		s.handleStandby(e)
	}
}

// nextEvent takes one event without waiting.
func (s *Slot) nextEvent() (event, bool) {
	if len(s.queue) == 0 {
		s.queue = s.inbox.take()
		if len(s.queue) == 0 {
			return event{}, false
		}
	}
	e := s.queue[0]
	s.queue = s.queue[1:]
	return e, true
}

func (s *Slot) handleStandby(e event) {
	switch {
	case e.fatal != nil:
		s.fatal = e.fatal
	case e.welcome != nil:
		s.limits = limitsFrom(e.welcome.GetLimits())
	case e.msg != nil:
		switch m := e.msg.GetMessage().(type) {
		case *holdfastv1.HostMessage_Assign:
			s.next = &assignment{e.gen, m.Assign, e.restored}
		case *holdfastv1.HostMessage_JobEnded:
			s.ended = m.JobEnded
		case *holdfastv1.HostMessage_Resume:
			s.refuseResume(e.gen, m.Resume)
		}
	}
}

// refuseResume answers a resume that crossed the end of its attempt: without an
// answer the host would wait for an attempt that nobody runs.
func (s *Slot) refuseResume(gen uint64, r *holdfastv1.Resume) {
	if r.GetAttempt() == s.lastFinished {
		return
	}
	s.session.release(r.GetAttempt())
	f := &holdfastv1.Failed{
		FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL,
		Error:        newError(holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, "the attempt had ended when its resume came", nil),
	}
	if s.lastFailed != nil && s.lastFailed.attempt == r.GetAttempt() {
		f = s.lastFailed.message
	}
	f.FencingToken = r.GetFencingToken()
	s.session.send(gen, &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Failed{Failed: f}})
}
