package raftstore

import (
	"net"
	"sync"
)

// connQueue is a listener over the connections of one kind. Closing it does not
// close the port.
type connQueue struct {
	addr   net.Addr
	conns  chan net.Conn
	port   <-chan struct{}
	once   sync.Once
	closed chan struct{}
}

func newConnQueue(addr net.Addr, port <-chan struct{}) *connQueue {
	// The buffer holds what arrives between the handshake and the reader's next
	// Accept, and what arrives before the reader is there at all.
	return &connQueue{addr: addr, conns: make(chan net.Conn, 64), port: port, closed: make(chan struct{})}
}

// put hands a connection over, or closes it when nobody takes it.
func (q *connQueue) put(c net.Conn) {
	select {
	case <-q.closed:
		_ = c.Close()
		return
	default:
	}
	select {
	case q.conns <- c:
	default:
		_ = c.Close()
	}
}

// Accept implements net.Listener. The error is net.ErrClosed.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case <-q.closed:
		return nil, net.ErrClosed
	case <-q.port:
		return nil, net.ErrClosed
	case c := <-q.conns:
		return c, nil
	}
}

// Close implements net.Listener.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener with the advertised address.
func (q *connQueue) Addr() net.Addr { return q.addr }

// drain closes what nobody accepted.
func (q *connQueue) drain() {
	for {
		select {
		case c := <-q.conns:
			_ = c.Close()
		default:
			return
		}
	}
}
