package stateserver

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// peers keeps one gRPC connection to each other node, over the peer port. The
// port's handshake has checked cluster and node before gRPC speaks.
type peers struct {
	dial func(ctx context.Context, nodeID string) (net.Conn, error)

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

func newPeers(dial func(context.Context, string) (net.Conn, error)) *peers {
	return &peers{dial: dial, conns: map[string]*grpc.ClientConn{}}
}

// conn returns the connection to a node; it connects when it is used. The
// backoff is short, since a node that comes back may lead at once, and
// ClientConn.ResetConnectBackoff walks a map that other goroutines change: it
// can end the process (grpc-go pull request 9155).
func (p *peers) conn(nodeID string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[nodeID]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+nodeID,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dial(ctx, nodeID) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, err
	}
	if p.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	p.conns[nodeID] = c
	return c, nil
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}
