package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// maxHandshakes bounds the connections that have not said yet what they are.
const maxHandshakes = 128

// peerPort is the one port that other nodes connect to. It reads the greeting
// of each connection and hands it on by kind.
type peerPort struct {
	ln      net.Listener
	self    *identity
	timeout time.Duration
	applied func() uint64
	unfit   func(reason string)
	tls     *peerTLS
	logger  *slog.Logger
	addr    peerAddr

	raft, rpc *connQueue
	slots     chan struct{}
	done      chan struct{}
	wg        sync.WaitGroup

	mu    sync.Mutex
	conns map[*peerConn]struct{} // nil once closed
}

// peerAddr is the advertised address.
type peerAddr string

// Network implements net.Addr.
func (peerAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a peerAddr) String() string { return string(a) }

func listenPeers(cfg Config, self *identity, applied func() uint64, unfit func(reason string)) (*peerPort, error) {
	logger := cfg.Logger.With("component", "peerport")
	secure, err := openPeerTLS(cfg.PeerTLS, self.name, logger)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.PeerListen)
	if err != nil {
		return nil, ListenError("peer-listen", cfg.PeerListen, err)
	}
	advertise := cfg.PeerAdvertise
	if tcp, ok := ln.Addr().(*net.TCPAddr); advertise == "" && ok {
		if tcp.IP.IsUnspecified() {
			_ = ln.Close()
			return nil, fmt.Errorf("raftstore: peers listen on all interfaces (%s): set PeerAdvertise to the address that other nodes use", tcp)
		}
		advertise = tcp.String()
	}
	p := &peerPort{
		ln: ln, self: self, timeout: cfg.PeerTimeout, applied: applied, unfit: unfit,
		tls: secure, logger: logger, addr: peerAddr(advertise),
		slots: make(chan struct{}, maxHandshakes), done: make(chan struct{}),
		conns: map[*peerConn]struct{}{},
	}
	p.raft, p.rpc = newConnQueue(p.addr, p.done), newConnQueue(p.addr, p.done)
	p.wg.Go(p.serve)
	return p, nil
}

// ListenError says what to do about an address that cannot be listened on; key
// is the name of the setting that has it.
func ListenError(key, address string, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another process: stop that, or set %s to another host:port; port 0 takes a free one: %w", key, address, key, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this machine: set %s to one that is: %w", key, address, key, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: this user must not listen on %s: set %s to a port from 1024: %w", key, address, key, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}

// serve accepts until the port is closed.
func (p *peerPort) serve() {
	for {
		conn, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: wait instead of spinning.
			p.logger.Warn("cannot accept peer connections", "err", err)
			select {
			case <-p.done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		select {
		case p.slots <- struct{}{}:
			p.wg.Go(func() { p.handle(conn) })
		default:
			_ = conn.Close()
		}
	}
}

// handle reads one greeting, answers it and hands the connection on.
func (p *peerPort) handle(raw net.Conn) {
	conn := p.track(raw)
	if conn == nil {
		<-p.slots
		return
	}
	g, err := p.greet(conn)
	<-p.slots
	if err != nil {
		p.logger.Warn("a peer connection ended in its handshake", "remote", conn.RemoteAddr(), "err", err)
	}
	switch {
	case err != nil || g.Kind == kindHello:
		_ = conn.Close()
	case g.Kind == kindRaft:
		p.raft.put(conn)
	default:
		p.rpc.put(conn)
	}
}

func (p *peerPort) greet(conn *peerConn) (greeting, error) {
	deadline := time.Now().Add(p.timeout)
	if err := conn.SetDeadline(deadline); err != nil {
		return greeting{}, err
	}
	if err := p.acceptTLS(conn, deadline); err != nil {
		return greeting{}, err
	}
	g, err := readGreeting(conn)
	a := answer{Code: answerOK, hello: p.self.hello(p.applied())}
	var other *versionError
	switch {
	case errors.As(err, &other):
		a.Code = answerBadVersion
		a.Message = fmt.Sprintf("node %s (%s) speaks version %d, the dialer version %d; %s", a.NodeID, a.Name, frameVersion, other.got, runTogether)
	case err != nil:
		// Not one of ours: say nothing.
		return g, err
	default:
		a.Code, a.Message = p.judge(conn, g)
	}
	// The answer to a joining node's first caller is made before judge.
	a.ClusterID, a.Versions = p.self.clusterID(), p.self.spokenVersions()
	if why := p.self.versions.Check(g.Versions.Cluster); g.Versions.Cluster != 0 && why != nil {
		p.logger.Warn("a node of a cluster asks for this one, which does not support its version", "node", g.From, "name", g.FromName, "err", why)
	}
	if err := writeAnswer(conn, a); err != nil {
		return g, err
	}
	if other != nil {
		return g, other
	}
	if a.Code != answerOK {
		return g, fmt.Errorf("refused %s (%s): %w", g.From, g.FromName, a.err())
	}
	p.self.learnName(g.From, g.FromName)
	return g, conn.SetDeadline(time.Time{})
}

// acceptTLS secures a connection that came, if the port has TLS.
func (p *peerPort) acceptTLS(conn *peerConn, deadline time.Time) error {
	if p.tls == nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	secured, err := p.tls.accept(ctx, conn.raw)
	if err == nil {
		conn.Conn = secured
		return nil
	}
	if plaintext(err) {
		_ = writeAnswer(conn.raw, answer{Code: answerNeedsTLS, Message: "this node's peer port needs TLS: see tls.peer.cert-file"})
	}
	tlsfiles.Linger(conn.raw, deadline)
	return tlsfiles.ExplainAccept(err)
}

func (p *peerPort) judge(conn *peerConn, g greeting) (answerCode, string) {
	if err := p.self.proves(certificateOf(conn), g.From, g.FromName); err != nil {
		return answerWrongCertificate, err.Error()
	}
	return p.self.judge(g)
}

// dial opens a connection and does the handshake. ctx bounds both.
func (p *peerPort) dial(ctx context.Context, kind connKind, id, address string) (net.Conn, answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, answer{}, fmt.Errorf("raftstore: dial peer: %w", err)
	}
	conn := p.track(raw)
	if conn == nil {
		return nil, answer{}, ErrShutdown
	}
	a, err := p.introduce(ctx, conn, kind, id)
	if err != nil {
		_ = conn.Close()
		if a.Code == answerDialerVersion && a.ClusterID == p.self.clusterID() {
			// Where this node dialed, not where it was called: a stranger cannot
			// end it.
			p.unfit(a.Message)
		}
		return nil, a, fmt.Errorf("raftstore: handshake with %s: %w", address, err)
	}
	return conn, a, nil
}

func (p *peerPort) introduce(ctx context.Context, conn *peerConn, kind connKind, id string) (answer, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	// A canceled context must end the handshake before its deadline.
	stop := context.AfterFunc(ctx, func() { _ = conn.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if p.tls != nil {
		secured, err := p.tls.dial(ctx, conn.raw)
		if err != nil {
			return answer{}, err
		}
		conn.Conn = secured
	}
	rec := p.self.record()
	g := greeting{
		Kind: kind, ClusterID: rec.ClusterID, From: rec.NodeID, FromName: p.self.name, To: id, List: p.self.list,
		Versions: p.self.spokenVersions(),
	}
	// In TLS 1.3 the other end may refuse this one's certificate while the greeting
	// is sent; then reading tells it.
	sent := writeGreeting(conn, g)
	a, err := readAnswer(conn)
	if tlsfiles.IsAlert(err) {
		err = tlsfiles.ExplainDial(err)
	} else if sent != nil && err != nil {
		err = sent
	}
	if err == nil {
		if err := p.self.proves(certificateOf(conn), a.NodeID, a.Name); err != nil {
			return answer{}, err // whatever it answers counts for nothing
		}
		err = a.err()
	}
	if err == nil && id != "" && a.NodeID != id {
		err = fmt.Errorf("%w: it calls itself %s (%s)", ErrWrongNode, a.NodeID, a.Name)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return a, err
	}
	p.self.learnName(a.NodeID, a.Name)
	return a, conn.SetDeadline(time.Time{})
}

// askHello fetches what the node at an address says about itself. With an id,
// any other node is ErrWrongNode.
func (p *peerPort) askHello(ctx context.Context, id, address string) (hello, error) {
	conn, a, err := p.dial(ctx, kindHello, id, address)
	if err != nil {
		return hello{}, err
	}
	_ = conn.Close()
	return a.hello, nil
}

// close ends the port and every connection that came or went through it.
func (p *peerPort) close() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	if conns == nil {
		return
	}
	close(p.done)
	_ = p.ln.Close()
	for c := range conns {
		_ = c.raw.Close()
	}
	p.wg.Wait()
	p.raft.drain()
	p.rpc.drain()
}

// peerConn is a connection that close knows of.
type peerConn struct {
	// Conn is raw, or TLS on it. It changes before anybody else has it.
	net.Conn
	raw  net.Conn
	port *peerPort
}

// track registers a connection, or closes it and returns nil if the port is
// closed.
func (p *peerPort) track(conn net.Conn) *peerConn {
	c := &peerConn{Conn: conn, raw: conn, port: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = conn.Close()
		return nil
	}
	p.conns[c] = struct{}{}
	return c
}

// Close implements net.Conn. It says no goodbye in TLS, which could wait for a
// node that has stopped reading; what is carried has ends of its own.
func (c *peerConn) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c)
	c.port.mu.Unlock()
	return c.raw.Close()
}
