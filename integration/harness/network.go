package harness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Clients stands for everybody outside the cluster where links are named.
const Clients = -1

// network is what nodes and clients reach nodes through: a proxy before each
// port, and a link for each direction between two of them. What is sent over a
// link that is cut waits, as TCP would keep sending it; who closes a connection
// then is not heard either.
type network struct {
	peers, clients []*proxy
	done           chan struct{}

	mu       sync.Mutex
	links    map[way]*link
	security *Security // nil without TLS
}

// way is a direction.
type way struct{ from, to int }

func newNetwork() *network { return &network{done: make(chan struct{}), links: map[way]*link{}} }

// add puts proxies before the ports of a node.
func (w *network) add(t testing.TB, n Node) {
	t.Helper()
	names := func(c net.Conn) (int, []byte, error) { return dialer(c) }
	w.peers = append(w.peers, newProxy(t, w, n.Index, n.PeerAdvertise, n.PeerAddress, true, names))
	clients := func(net.Conn) (int, []byte, error) { return Clients, nil, nil }
	w.clients = append(w.clients, newProxy(t, w, n.Index, n.ClientAddress, n.ListenAddress, false, clients))
}

func (w *network) link(from, to int) *link {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.links[way{from, to}]
	if l == nil {
		l = &link{done: w.done, changed: make(chan struct{})}
		w.links[way{from, to}] = l
	}
	return l
}

func (w *network) secure(s *Security) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.security = s
}

func (w *network) secured() *Security {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.security
}

func (w *network) close() {
	close(w.done)
	for _, p := range slices.Concat(w.peers, w.clients) {
		p.close()
	}
}

// dialer reads the greeting of a connection between nodes (raftstore's
// DESIGN.md) for the name of the node that dials, "n" and its number.
func dialer(c net.Conn) (int, []byte, error) {
	const header, sum = 8, 4
	head := make([]byte, header)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	if string(head[:4]) != "HFP\n" {
		return 0, nil, errors.New("not a greeting of a node")
	}
	rest := make([]byte, int(binary.BigEndian.Uint16(head[6:]))+sum)
	if _, err := io.ReadFull(c, rest); err != nil {
		return 0, nil, err
	}
	const nameAt = 2 // behind the cluster id and the node id
	for body, i := rest[:len(rest)-sum], 0; len(body) >= 2; i++ {
		n := int(binary.BigEndian.Uint16(body))
		if len(body) < 2+n {
			break
		}
		if i == nameAt {
			var number int
			_, err := fmt.Sscanf(string(body[2:2+n]), "n%d", &number)
			return number - 1, append(head, rest...), err
		}
		body = body[2+n:]
	}
	return 0, nil, errors.New("a greeting without a name")
}

// link is one direction between two ends, for all connections.
type link struct {
	done <-chan struct{}

	mu      sync.Mutex
	cut     bool
	delay   time.Duration
	rate    int // bytes a second; 0: any
	changed chan struct{}
}

func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) now() (cut bool, delay time.Duration, rate int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut, l.delay, l.rate, l.changed
}

// pass waits while the link is cut; false: the network is gone.
func (l *link) pass() bool {
	for {
		cut, _, _, changed := l.now()
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// parcel is some bytes that may arrive at a time.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry copies until from ends, then closes to. What is on its way at a time is
// bounded.
func (l *link) carry(from io.Reader, to io.WriteCloser) {
	road := make(chan parcel, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		l.deliver(road, to)
		_ = to.Close() // its end is told, late if the link is cut
	})
	defer wg.Wait()
	defer close(road)
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if n > 0 {
			_, delay, _, _ := l.now()
			select {
			case road <- parcel{b[:n], time.Now().Add(delay)}:
			case <-l.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver writes parcels when they are due, and drops them once to has ended.
func (l *link) deliver(road <-chan parcel, to io.Writer) {
	var err error
	for p := range road {
		if err != nil || !l.wait(time.Until(p.due)) || !l.pass() {
			continue
		}
		if _, err = to.Write(p.bytes); err != nil {
			continue
		}
		if _, _, rate, _ := l.now(); rate > 0 {
			l.wait(time.Duration(len(p.bytes)) * time.Second / time.Duration(rate))
		}
	}
	l.pass()
}

func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.done:
		return false
	}
}

// CutLink holds back everything that one node sends to another (or Clients to a
// node, or a node to Clients), in every connection, until Heal. The cluster must
// have been made with Options.Proxied.
func (c *Cluster) CutLink(from, to int) {
	c.network.link(from, to).set(func(l *link) { l.cut = true })
}

// CutBoth cuts both directions between two.
func (c *Cluster) CutBoth(a, b int) {
	c.CutLink(a, b)
	c.CutLink(b, a)
}

// SlowLink delays what one sends to another, and bounds it to a number of bytes
// a second (0: any), until Heal.
func (c *Cluster) SlowLink(from, to int, delay time.Duration, rate int) {
	c.network.link(from, to).set(func(l *link) { l.delay, l.rate = delay, rate })
}

// HealLink makes one direction as good as new. What was held back arrives.
func (c *Cluster) HealLink(from, to int) {
	c.network.link(from, to).set(func(l *link) { l.cut, l.delay, l.rate = false, 0, 0 })
}

// Heal makes every link as good as new. What was held back arrives.
func (c *Cluster) Heal() {
	c.network.mu.Lock()
	var all []way
	for w := range c.network.links {
		all = append(all, w)
	}
	c.network.mu.Unlock()
	for _, w := range all {
		c.HealLink(w.from, w.to)
	}
}

// Proxied tells whether links can be cut and slowed.
func (c *Cluster) Proxied() bool { return c.network != nil }

// Deafen ends every connection that other nodes have to a node, and those that
// they open, from now on: it learns nothing more, although it can be reached by
// clients and reach others. The cluster must have been made with
// Options.Proxied.
func (c *Cluster) Deafen(i int) { c.network.peers[i].setDeaf(true) }

// Hear ends Deafen.
func (c *Cluster) Hear(i int) { c.network.peers[i].setDeaf(false) }

func (c *Cluster) isDeaf(i int) bool {
	return c.network != nil && i < len(c.network.peers) && c.network.peers[i].isDeaf()
}
