// Package grpctls secures gRPC connections with certificates from files that may
// change while connections come and go (see tlsfiles), and says in words what a
// failed handshake means.
package grpctls

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// protocol is what gRPC speaks.
const protocol = "h2"

// lingerFor is how long the server waits for a client that it refused to close
// its end, so that the reason gets there.
const lingerFor = time.Second

// server wraps gRPC's own TLS with words for the log.
type server struct {
	credentials.TransportCredentials
	log *slog.Logger
}

// NewServer are the credentials of a server's port. Refused connections are
// logged.
func NewServer(files *tlsfiles.Source, log *slog.Logger) credentials.TransportCredentials {
	return &server{credentials.NewTLS(files.Server(protocol)), log}
}

// ServerHandshake implements credentials.TransportCredentials.
func (s *server) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	held := &heldConn{Conn: raw}
	held.hold.Store(true)
	conn, info, err := s.TransportCredentials.ServerHandshake(held)
	held.hold.Store(false)
	if err == nil {
		held.seen = nil
		return conn, info, nil
	}
	if errors.Is(err, io.EOF) {
		// It came and went without a word, as a health check of a port does.
		return nil, nil, err
	}
	reason := tlsfiles.ExplainAccept(err)
	s.log.Info("client connection refused", "remote", raw.RemoteAddr(), "reason", reason)
	if header := (tls.RecordHeaderError{}); errors.As(err, &header) {
		sayGoodbye(raw, held.seen)
	}
	tlsfiles.Linger(raw, time.Now().Add(lingerFor))
	return nil, nil, reason
}

// Clone implements credentials.TransportCredentials.
func (s *server) Clone() credentials.TransportCredentials {
	return &server{s.TransportCredentials.Clone(), s.log}
}

// heldConn is not closed while it is held: gRPC would close it before the other
// end has learned why. Whoever gave it closes it after a failed handshake.
// What is read meanwhile is kept: it may turn out not to be TLS.
type heldConn struct {
	net.Conn
	hold atomic.Bool
	seen []byte
}

// Read implements net.Conn.
func (c *heldConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.hold.Load() {
		c.seen = append(c.seen, b[:n]...)
	}
	return n, err
}

// Close implements net.Conn.
func (c *heldConn) Close() error {
	if c.hold.Load() {
		return nil
	}
	return c.Conn.Close()
}

// needsTLS is what a client without TLS is told.
const needsTLS = "this port needs TLS: see HOLDFAST_TLS_CA_FILE in docs/security.md"

// NeedsTLS tells whether a call failed because it came without TLS to a port that
// has it.
func NeedsTLS(err error) bool { return err != nil && strings.Contains(err.Error(), needsTLS) }

// sayGoodbye tells a client that speaks HTTP/2 without TLS what is wrong, in its
// own words: a GOAWAY with INADEQUATE_SECURITY (RFC 9113, 6.8 and 7). It waits for a
// call, because a client that has none yet says only that the connection is closing;
// and it names the last possible stream, because a call that counts as not received
// would be made again. Nothing of the node is behind it.
func sayGoodbye(raw net.Conn, seen []byte) {
	if raw.SetDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	in := io.LimitReader(io.MultiReader(bytes.NewReader(seen), raw), maxGoodbye)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(in, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	f := http2.NewFramer(raw, in)
	err := f.WriteSettings()
	for called := false; err == nil && !called; {
		var frame http2.Frame
		if frame, err = f.ReadFrame(); err == nil {
			called = frame.Header().Type == http2.FrameHeaders
		}
	}
	if err == nil {
		_ = f.WriteGoAway(1<<31-1, http2.ErrCodeInadequateSecurity, []byte(needsTLS)) // whoever is gone needs no reason
	}
}

// maxGoodbye bounds what is read of a client without TLS.
const maxGoodbye = 64 << 10
