package harness

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is what other nodes reach a node through. A deaf one drops what comes.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	deaf  bool
	conns map[net.Conn]bool
}

func newProxy(t testing.TB, address, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
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

func (p *proxy) carry(in net.Conn) {
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = in.Close() // nobody is there
		return
	}
	if !p.hold(in, out) {
		return
	}
	var wg sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
		wg.Go(func() {
			_, _ = io.Copy(to, from) // ends when either side does
			_ = to.Close()
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

// hold notes connections to be cut later; false: they are cut already.
func (p *proxy) hold(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.deaf {
			_ = c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.deaf
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

func (p *proxy) close() {
	p.setDeaf(true)
	_ = p.listener.Close()
}

// Deafen cuts everything that other nodes send to a node, from now on: it
// learns nothing more, although it can be reached by clients and reach others.
// The cluster must have been made with Options.Proxied.
func (c *Cluster) Deafen(i int) { c.proxies[i].setDeaf(true) }

// Hear ends Deafen.
func (c *Cluster) Hear(i int) { c.proxies[i].setDeaf(false) }

func (c *Cluster) isDeaf(i int) bool {
	if i >= len(c.proxies) {
		return false
	}
	p := c.proxies[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}
