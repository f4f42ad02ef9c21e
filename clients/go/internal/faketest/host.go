// Package faketest plays a node for tests of the client: a host that a test
// scripts message by message, and one that keeps the rules by itself while it
// breaks what may break.
package faketest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Patience is how long a test waits for what must come.
const Patience = 10 * time.Second

// Host is a scripted node.
type Host struct {
	holdfastv1.UnimplementedOperatorServiceServer
	holdfastv1.UnimplementedJobServiceServer

	Address string
	// Submitted gets every Submit; Answer answers it.
	Submitted chan *holdfastv1.SubmitRequest
	Answer    func(*holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error)

	t       testing.TB
	streams chan *Stream
	server  *grpc.Server
}

// NewHost starts a host that is stopped with the test.
func NewHost(t testing.TB) *Host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	h := &Host{
		Address: l.Addr().String(), t: t, streams: make(chan *Stream, 16), server: grpc.NewServer(),
		Submitted: make(chan *holdfastv1.SubmitRequest, 16),
	}
	h.Answer = func(*holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
		return &holdfastv1.SubmitResponse{JobId: "job"}, nil
	}
	holdfastv1.RegisterOperatorServiceServer(h.server, h)
	holdfastv1.RegisterJobServiceServer(h.server, h)
	go func() { _ = h.server.Serve(l) }()
	t.Cleanup(h.server.Stop)
	return h
}

// Submit implements JobService.
func (h *Host) Submit(_ context.Context, r *holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
	select {
	case h.Submitted <- r:
	default:
	}
	return h.Answer(r)
}

// Run implements OperatorService: the stream waits for what the test does.
func (h *Host) Run(s holdfastv1.OperatorService_RunServer) error {
	st := &Stream{t: h.t, stream: s, up: make(chan *holdfastv1.OperatorMessage, 1<<16), end: make(chan error, 1)}
	st.echo.Store(true)
	first, err := s.Recv()
	if err != nil {
		return err
	}
	st.Hello = first.GetHello()
	h.streams <- st
	go st.read()
	select {
	case err := <-st.end:
		return err
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

// Accept waits for the next stream and its Hello.
func (h *Host) Accept() *Stream {
	h.t.Helper()
	select {
	case s := <-h.streams:
		if s.Hello == nil {
			h.t.Fatal("the first message was no Hello (rule 3.1)")
		}
		return s
	case <-time.After(Patience):
		h.t.Fatal("no stream was opened")
		return nil
	}
}

// AcceptWelcome accepts the next stream and welcomes it.
func (h *Host) AcceptWelcome() *Stream {
	h.t.Helper()
	s := h.Accept()
	s.Welcome(nil)
	return s
}

// NoStream fails the test if a stream is waiting.
func (h *Host) NoStream() {
	h.t.Helper()
	select {
	case s := <-h.streams:
		h.t.Fatalf("a stream was opened that should not: %v", s.Hello)
	default:
	}
}

// Stream is one stream as the host sees it.
type Stream struct {
	Hello  *holdfastv1.Hello
	t      testing.TB
	stream holdfastv1.OperatorService_RunServer
	up     chan *holdfastv1.OperatorMessage
	end    chan error
	echo   atomic.Bool
	// HalfClosed is set once the client has closed its side.
	HalfClosed atomic.Bool
	// Heartbeats counts those that came.
	Heartbeats atomic.Int64
	sendMu     sync.Mutex
}

func (s *Stream) read() {
	defer close(s.up)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				s.HalfClosed.Store(true)
				s.End(nil)
			}
			return
		}
		if hb := m.GetHeartbeat(); hb != nil {
			if s.echo.Load() {
				s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_HeartbeatEcho{
					HeartbeatEcho: &holdfastv1.HeartbeatEcho{Sequence: hb.GetSequence()},
				}})
			}
			s.Heartbeats.Add(1)
			continue
		}
		s.up <- m
	}
}

// StopEcho lets heartbeats go unanswered from now on.
func (s *Stream) StopEcho() { s.echo.Store(false) }

// Welcome welcomes the client; w may set what differs from short intervals.
func (s *Stream) Welcome(w *holdfastv1.Welcome) {
	s.t.Helper()
	if w == nil {
		w = &holdfastv1.Welcome{}
	}
	if w.HeartbeatIntervalMs == 0 {
		w.HeartbeatIntervalMs, w.SessionTimeoutMs = 20, 10000
	}
	w.NodeId, w.SessionId = "node", "session"
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Welcome{Welcome: w}})
}

// Send sends one message down. A stream that the client left is no error.
func (s *Stream) Send(m *holdfastv1.HostMessage) {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	_ = s.stream.Send(m)
}

// Break ends the stream as a node does that stops.
func (s *Stream) Break() { s.End(status.Error(codes.Unavailable, "the test broke the stream")) }

// End ends the stream with an error, or with OK.
func (s *Stream) End(err error) {
	select {
	case s.end <- err:
	default:
	}
}

// Closed waits until the client has left the stream.
func (s *Stream) Closed() {
	s.t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case _, ok := <-s.up:
			if !ok {
				return
			}
		case <-deadline:
			s.t.Fatal("the client did not leave the stream")
		}
	}
}

// Next waits for the next message up, heartbeats apart.
func (s *Stream) Next() *holdfastv1.OperatorMessage {
	s.t.Helper()
	select {
	case m, ok := <-s.up:
		if !ok {
			s.t.Fatal("the client left the stream where a message was expected")
		}
		return m
	case <-time.After(Patience):
		s.t.Fatal("no message came")
		return nil
	}
}

// Quiet fails the test if a message comes up within d.
func (s *Stream) Quiet(d time.Duration) {
	s.t.Helper()
	select {
	case m, ok := <-s.up:
		if ok {
			s.t.Fatalf("unexpected message: %v", m)
		}
	case <-time.After(d):
	}
}

// Status makes an error with the reason where a client looks for it.
func Status(code codes.Code, reason string) error {
	st, err := status.New(code, "from the test").WithDetails(&errdetails.ErrorInfo{
		Reason: reason, Domain: "holdfast", Metadata: map[string]string{"outcome": "final"},
	})
	if err != nil {
		panic(fmt.Sprintf("status: %v", err))
	}
	return st.Err()
}
