package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/emptypb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Stream is one raw stream of the operator protocol: it sends what it is told
// to, right or wrong. Received messages wait in a queue. Safe for concurrent
// use.
type Stream struct {
	stream grpc.BidiStreamingClient[holdfastv1.OperatorMessage, holdfastv1.HostMessage]
	cancel context.CancelFunc
	sendMu sync.Mutex
	readMu sync.Mutex // held while nothing is to be read

	mu    sync.Mutex
	queue []*holdfastv1.HostMessage
	err   error // why receiving ended; io.EOF for OK
	wake  chan struct{}
}

// OpenStream opens a stream and reads it.
func OpenStream(conn *grpc.ClientConn) (*Stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := holdfastv1.NewOperatorServiceClient(conn).Run(ctx, grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(grpcproto.Name)}))
	if err != nil {
		cancel()
		return nil, err
	}
	st := &Stream{stream: s, cancel: cancel, wake: make(chan struct{}, 1)}
	go st.receive()
	return st, nil
}

func (s *Stream) receive() {
	for {
		s.readMu.Lock()
		s.readMu.Unlock() //nolint:staticcheck // waits for ReadAgain
		m, err := s.stream.Recv()
		s.mu.Lock()
		if err != nil {
			s.err = err
		} else {
			s.queue = append(s.queue, m)
		}
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Send sends a message. An error says that the stream is broken; why, tells
// Next.
func (s *Stream) Send(m *holdfastv1.OperatorMessage) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.stream.Send(m)
}

// SendRaw sends bytes in the place of a message.
func (s *Stream) SendRaw(b []byte) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.stream.SendMsg(rawMessage(b))
}

// InvokeRaw makes a call whose request is these bytes.
func InvokeRaw(ctx context.Context, conn *grpc.ClientConn, method string, request []byte) error {
	return conn.Invoke(ctx, method, rawMessage(request), &emptypb.Empty{}, grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(grpcproto.Name)}))
}

// rawMessage goes out as it is.
type rawMessage []byte

// rawCodec lets rawMessages through.
type rawCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(rawMessage); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Break ends the stream without a word.
func (s *Stream) Break() { s.cancel() }

// StopReading reads one more message and then nothing until ReadAgain.
func (s *Stream) StopReading() { s.readMu.Lock() }

// ReadAgain is for after StopReading.
func (s *Stream) ReadAgain() { s.readMu.Unlock() }

// Wake has a value whenever there may be something for TryNext.
func (s *Stream) Wake() <-chan struct{} { return s.wake }

// errNothing says that nothing has come yet.
var errNothing = errors.New("no message has come")

// TryNext takes the next message: errNothing if there is none yet, io.EOF
// after the last one of a stream that ended with OK, else its status.
func (s *Stream) TryNext() (*holdfastv1.HostMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		m := s.queue[0]
		s.queue = s.queue[1:]
		return m, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, errNothing
}

// Next waits for the next message that accept takes; others are dropped.
func (s *Stream) Next(limit time.Duration, accept func(*holdfastv1.HostMessage) bool) (*holdfastv1.HostMessage, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		m, err := s.TryNext()
		switch {
		case err == nil && accept(m):
			return m, nil
		case err == nil:
			continue
		case !errors.Is(err, errNothing):
			return nil, err
		}
		select {
		case <-s.wake:
		case <-timer.C:
			return nil, fmt.Errorf("%w in %s", errNothing, limit)
		}
	}
}

// End waits until the stream ends and returns its status, nil for OK.
func (s *Stream) End(limit time.Duration) error {
	_, err := s.Next(limit, func(*holdfastv1.HostMessage) bool { return false })
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
