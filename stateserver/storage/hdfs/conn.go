package hdfs

import (
	"context"
	"net"
	"time"
)

const (
	// nameNodeTimeout and dataNodeTimeout bound each read and write. The client has
	// no contexts; a peer that is silent would block it for ever.
	nameNodeTimeout = 30 * time.Second
	dataNodeTimeout = 60 * time.Second

	dialTimeout = 10 * time.Second
)

func dial(timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, timeout: timeout}, nil
	}
}

// conn bounds each read and write, and closes after an error: the client goes on
// with a connection whose answer it did not read, and would take it for the answer
// to its next call.
type conn struct {
	net.Conn
	timeout time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	err := c.SetReadDeadline(time.Now().Add(c.timeout))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		_ = c.Close() // the error is told
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	err := c.SetWriteDeadline(time.Now().Add(c.timeout))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close() // the error is told
	}
	return n, err
}
