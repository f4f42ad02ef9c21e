package harness

import (
	"net"
	"sync"
	"testing"
)

// proxy is what one port of a node is reached through. It learns who dials from
// the first bytes, and carries each direction as the network says. A deaf one
// ends every connection.
type proxy struct {
	listener net.Listener
	target   string
	net      *network
	node     int
	// who tells who dials, and what it has read to learn that.
	who func(net.Conn) (from int, read []byte, err error)
	// terminates: in a cluster with TLS it takes part in that, as the node to who
	// dials and as who dials to the node, since the greeting is within.
	terminates bool

	mu    sync.Mutex
	deaf  bool
	conns map[net.Conn]bool
}

func newProxy(t testing.TB, n *network, node int, address, target string, terminates bool, who func(net.Conn) (int, []byte, error)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, net: n, node: node, who: who, terminates: terminates, conns: map[net.Conn]bool{}}
	go p.accept()
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.carry(in)
	}
}

// carry serves one connection. Nothing reaches the target while either way is
// cut: a connection needs both to be opened.
func (p *proxy) carry(in net.Conn) {
	if !p.hold(in) {
		return
	}
	defer p.release(in)
	raw := in
	if p.terminates {
		in = p.net.secured().server(in, p.node)
	}
	from, first, err := p.who(in)
	if err != nil {
		return // whoever it was went away
	}
	there, back := p.net.link(from, p.node), p.net.link(p.node, from)
	if !there.pass() || !back.pass() {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return // nobody is there
	}
	if !p.hold(out) {
		return
	}
	defer p.release(out)
	if in != raw {
		out = p.net.secured().client(out, from)
	}
	if _, err := out.Write(first); err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { there.carry(in, out) })
	wg.Go(func() { back.carry(out, in) })
	wg.Wait()
}

// hold notes a connection to be cut later; false: it is cut already.
func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) release(c net.Conn) {
	_ = c.Close() // the other side has gone
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) setDeaf(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
	if deaf {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *proxy) isDeaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}

func (p *proxy) close() {
	p.setDeaf(true)
	_ = p.listener.Close()
}
