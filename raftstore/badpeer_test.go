package raftstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/testport"
)

// logLines is a logger's output that a test reads while it is written.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// Each peer that a node must not speak to, with what the one that dials is told.
func TestPeerPort_BadPeers(t *testing.T) {
	var log logLines
	cfg := testConfig(t)
	cfg.NodeName, cfg.Versions = "home", newerBuild
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	home := newTestNode(t, cfg)
	home.mustStart()
	mustAppend(t, toyRaise, home)
	stranger := startNamed(t, "stranger", newerBuild)
	old := startNamed(t, "old", olderBuild)
	removed := startNamed(t, "removed", newerBuild)
	if err := removed.MarkRemoved(); err != nil {
		t.Fatal(err)
	}
	cfg = testConfig(t)
	cfg.NodeName, cfg.Join, cfg.Versions = "waiting", true, newerBuild
	waiting := newTestNode(t, cfg)
	waiting.mustStart()
	const supported = "the cluster version is not supported: the cluster is at version 2, this build supports version 1 only: " +
		"start the node with a newer build, since a cluster version is never taken back (see docs/upgrades.md)"
	for _, c := range []struct {
		name     string
		from, to *testNode
		kind     connKind
		id       string // of the node that is called; empty: that of to
		want     string
		is       error
	}{
		{"another cluster", stranger, home, kindRaft, "", "raftstore: belongs to another cluster: node HOME (home) is of cluster CLUSTER, the dialer of \"" + stranger.ClusterID() + "\": " +
			"mend the address if it leads to the wrong node; one that is to change its cluster needs an empty data directory and --join", ErrWrongCluster},
		{"another node", stranger, home, kindRPC, stranger.ID(), "raftstore: another node answers at this address: node HOME (home) answers here, not " + stranger.ID() +
			": a node that lost its data directory is a new member", ErrWrongNode},
		{"an unknown kind", stranger, home, connKind(77), "", "raftstore: bad handshake: refused with code 5: connection kind 77 is not known", ErrHandshake},
		{"a dialer of an older build", old, home, kindRaft, "", "raftstore: peer refuses the connection: " + supported, errRefusedVersion},
		{"an acceptor of an older build", home, old, kindRaft, "", "raftstore: peer refuses the connection: " + supported, errRefusedVersion},
		{"a node that was removed", home, removed, kindRaft, "", "raftstore: node was removed from the cluster: node " + removed.ID() + " (removed) was removed from cluster " + removed.ClusterID() +
			": start it with an empty data directory and add it as a new member", ErrRemoved},
		{"a node without a cluster", home, waiting, kindRPC, "", "raftstore: peer has no cluster yet: node " + waiting.ID() + " (waiting) waits for its first members, or to be added", errNotReady},
	} {
		id := c.id
		if id == "" {
			id = c.to.ID()
		}
		conn, _, err := c.from.port.dial(t.Context(), c.kind, id, c.to.Address())
		if err == nil {
			conn.Close()
			t.Errorf("%s: taken", c.name)
			continue
		}
		want := "raftstore: handshake with " + c.to.Address() + ": " + strings.NewReplacer("HOME", home.ID(), "CLUSTER", home.ClusterID()).Replace(c.want)
		if err.Error() != want || !errors.Is(err, c.is) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, want)
		}
	}
	mustAppend(t, "still alive", home)
	// The refusal is on its way before the line is written.
	waitFor(t, "the node that refused a stranger says so in its log", func() bool {
		return log.has(`err="refused ` + stranger.ID() + ` (stranger): raftstore: belongs to another cluster: node ` + home.ID())
	})
}

func startNamed(t *testing.T, name string, build coordinator.Versions) *testNode {
	t.Helper()
	cfg := testConfig(t)
	cfg.NodeName, cfg.Versions = name, build
	tn := newTestNode(t, cfg)
	tn.mustStart()
	return tn
}

// A peer of another version of the peer protocol: both ends say so, with both
// versions.
func TestPeerPort_AnotherProtocolVersion(t *testing.T) {
	var log logLines
	cfg := testConfig(t)
	cfg.NodeName, cfg.Logger = "n1", slog.New(slog.NewTextHandler(&log, nil))
	tn := newTestNode(t, cfg)
	tn.mustStart()
	waitLeader(t, tn)

	var newer bytes.Buffer
	if err := writeGreeting(&newer, someGreeting); err != nil {
		t.Fatal(err)
	}
	newer.Bytes()[4] = 9
	conn, err := net.Dial("tcp", tn.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustDeadline(t, conn)
	if _, err := conn.Write(newer.Bytes()); err != nil {
		t.Fatal(err)
	}
	a, err := readAnswer(conn)
	want := "raftstore: bad handshake: another version of the peer protocol: node " + tn.ID() + " (n1) speaks version 1, the dialer version 9; run builds of releases that work together, see docs/upgrades.md"
	if err != nil || a.err() == nil || a.err().Error() != want {
		t.Errorf("the dialer is told\ngot  %v, %v\nwant %s", a.err(), err, want)
	}
	const told = "raftstore: bad handshake: another version of the peer protocol: the other node speaks version 9, this build version 1; run builds of releases that work together, see docs/upgrades.md"
	waitFor(t, "the line in the log", func() bool {
		return log.has(`msg="a peer connection ended in its handshake" component=peerport remote=` + conn.LocalAddr().String() + ` err="` + told + `"`)
	})

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go answerOnce(ln, func() []byte {
		var b bytes.Buffer
		_ = writeAnswer(&b, someAnswer) // into memory
		b.Bytes()[4] = 9
		return b.Bytes()
	}())
	_, _, err = tn.port.dial(t.Context(), kindHello, "", ln.Addr().String())
	if want := "raftstore: handshake with " + ln.Addr().String() + ": " + told; err == nil || err.Error() != want || !errors.Is(err, ErrHandshake) {
		t.Errorf("a node that dials\ngot  %v\nwant %s", err, want)
	}
	mustAppend(t, "still alive", tn)
}

// answerOnce reads one frame and says one thing.
func answerOnce(ln net.Listener, say []byte) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _, _ = readFrame(conn) // whatever it is
	_, _ = conn.Write(say)
	_, _ = io.Copy(io.Discard, conn)
}

// Each way in which a frame of the peer port can be malformed, with what the log
// of the node says of it.
func TestHandshake_MalformedFrames(t *testing.T) {
	var good bytes.Buffer
	if err := writeGreeting(&good, someGreeting); err != nil {
		t.Fatal(err)
	}
	frame := func(fields ...string) string {
		var b bytes.Buffer
		if err := writeFrame(&b, uint8(kindRaft), fields); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	changed := func(at int, to byte) string {
		b := bytes.Clone(good.Bytes())
		b[at] = to
		return string(b)
	}
	for _, c := range []struct{ name, bytes, want string }{
		{"nothing", "", "read header: EOF"},
		{"half a header", good.String()[:5], "read header: unexpected EOF"},
		{"half a body", good.String()[:20], "read body: unexpected EOF"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "not a Holdfast peer connection"},
		{"HTTP/2, as at the client port", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not a Holdfast peer connection"},
		{"TLS to a port without", "\x16\x03\x01\x02\x00\x01\x00\x01", "it speaks TLS, and this node's peer port has none"},
		{"a body above the bound", changed(6, 0xff), "body of 65322 bytes"},
		{"a wrong checksum", changed(12, 'x'), "checksum"},
		{"a field that is longer than the body", func() string {
			var b bytes.Buffer
			b.WriteString(frame("abcdef"))
			b.Bytes()[frameHeader+1] = 200
			return resum(b.Bytes())
		}(), "field of 200 bytes in 6"},
		{"a field cut short", func() string {
			b := []byte(frame("abcd"))
			b[frameHeader+1] = 3 // one byte is left for the next field
			return resum(b)
		}(), "field cut short"},
		{"too few fields", frame("c", "f"), "greeting of 2 fields"},
		{"versions of another size", frame("c", "f", "n", "t", "l", "v"), "versions of 1 bytes"},
	} {
		_, err := readGreeting(strings.NewReader(c.bytes))
		if want := "raftstore: bad handshake: " + c.want; err == nil || err.Error() != want || !errors.Is(err, ErrHandshake) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, want)
		}
	}
	for _, c := range []struct{ name, bytes, want string }{
		{"an answer of too few fields", frame("m"), "answer of 1 fields"},
		{"an answer with half a member", frame("m", "t", "n", "c", "l", "12345678", "123456789012", "id"), "answer of 8 fields"},
	} {
		_, err := readAnswer(strings.NewReader(c.bytes))
		if want := "raftstore: bad handshake: " + c.want; err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, want)
		}
	}
}

// resum gives a frame the checksum of what it now holds.
func resum(frame []byte) string {
	body := bytes.Clone(frame[:len(frame)-4])
	return string(binary.BigEndian.AppendUint32(body, crc32.Checksum(body, castagnoli)))
}

// Each way in which first members can contradict each other, with what the node
// that finds it out ends with.
func TestBootstrap_ContradictionsAreTold(t *testing.T) {
	const (
		lists = "; give all of them the same initial-cluster and start those that differ again"
		names = "; each node needs the name and the address that initial-cluster gives it"
	)
	for _, c := range []struct {
		name   string
		change func(nodes []*testNode)
		// want are the texts, of whoever is the first to ask. ADDR1 to ADDR3 stand
		// for the addresses.
		want []string
		is   error
	}{
		{"another address in a list", func(nodes []*testNode) {
			nodes[2].cfg.InitialCluster[1].Address = "127.0.0.1:1"
		}, []string{
			"raftstore: initial member lists disagree: n3 at ADDR3 was started with [n1=ADDR1,n2=127.0.0.1:1,n3=ADDR3], n1 (this node) with [n1=ADDR1,n2=ADDR2,n3=ADDR3]" + lists,
			"raftstore: initial member lists disagree: n3 at ADDR3 was started with [n1=ADDR1,n2=127.0.0.1:1,n3=ADDR3], n2 (this node) with [n1=ADDR1,n2=ADDR2,n3=ADDR3]" + lists,
			"raftstore: initial member lists disagree: n1 at ADDR1 was started with [n1=ADDR1,n2=ADDR2,n3=ADDR3], n3 (this node) with [n1=ADDR1,n2=127.0.0.1:1,n3=ADDR3]" + lists,
		}, ErrInitialClusterMismatch},
		{"a shorter list", func(nodes []*testNode) {
			nodes[2].cfg.InitialCluster = nodes[2].cfg.InitialCluster[1:]
		}, []string{
			"raftstore: initial member lists disagree: n3 at ADDR3 was started with [n2=ADDR2,n3=ADDR3], n1 (this node) with [n1=ADDR1,n2=ADDR2,n3=ADDR3]" + lists,
			"raftstore: initial member lists disagree: n3 at ADDR3 was started with [n2=ADDR2,n3=ADDR3], n2 (this node) with [n1=ADDR1,n2=ADDR2,n3=ADDR3]" + lists,
			"raftstore: initial member lists disagree: n2 at ADDR2 was started with [n1=ADDR1,n2=ADDR2,n3=ADDR3], n3 (this node) with [n2=ADDR2,n3=ADDR3]" + lists,
		}, ErrInitialClusterMismatch},
		{"two nodes of one name", func(nodes []*testNode) {
			// It listens where n2 should, and calls itself n1.
			nodes[1].cfg.NodeName = "n1"
		}, []string{
			"raftstore: initial member lists disagree: at ADDR2 answers n1, n1 (this node) expects n2 there" + names,
			"raftstore: initial member lists disagree: at ADDR2 answers n1, n3 (this node) expects n2 there" + names,
		}, ErrInitialClusterMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := newTestCluster(t, 3, nil)
			var addresses []string
			for i, tn := range cluster.nodes {
				tn.cfg.InitialCluster = slices.Clone(tn.cfg.InitialCluster)
				addresses = append(addresses, fmt.Sprintf("ADDR%d", i+1), tn.cfg.PeerListen)
			}
			c.change(cluster.nodes)
			err := firstRefusal(t, cluster)
			var want []string
			for _, w := range c.want {
				want = append(want, strings.NewReplacer(addresses...).Replace(w))
			}
			if !slices.Contains(want, err.Error()) || !errors.Is(err, c.is) {
				t.Errorf("got  %v\nwant one of\n%s", err, strings.Join(want, "\n"))
			}
		})
	}
}

// firstRefusal starts all nodes of a cluster and returns why the first one gives up.
func firstRefusal(t *testing.T, c *testCluster) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	refused := make(chan error, len(c.nodes))
	var wg sync.WaitGroup
	for _, tn := range c.nodes {
		wg.Go(func() {
			err := tn.tryStart(ctx)
			if err != nil && ctx.Err() == nil {
				refused <- err
			}
			if err != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-refused:
		return err
	default:
		t.Fatal("nobody noticed")
		return nil
	}
}

// A node that is told of one cluster and finds the directory of another does not
// start, and leaves the directory as it was; a list that has changed since the
// cluster was made is no such thing.
func TestBootstrap_DirectoryOfAnotherCluster(t *testing.T) {
	home := startNamed(t, "home", olderBuild)
	mustAppend(t, "a", home)
	stranger := startNamed(t, "stranger", olderBuild)
	mustAppend(t, "b", stranger)
	cluster := stranger.ClusterID()
	stranger.Kill()
	dead := testport.Free(t, 1)[0]
	list := []InitialMember{{Name: "stranger", Address: stranger.cfg.PeerListen}, {Name: "gone", Address: dead}, {Name: "home", Address: home.Address()}}
	stranger.cfg.InitialCluster = list
	err := stranger.tryStart(t.Context())
	want := "raftstore: belongs to another cluster: the data directory " + stranger.cfg.DataDir + " is of cluster " + cluster + ", and home at " + home.Address() +
		", which is in initial-cluster, of cluster " + home.ClusterID() + ": give this node its own directory; to make it a member of that cluster, start it with --join on an empty one and add it"
	if err == nil || err.Error() != want || !errors.Is(err, ErrWrongCluster) {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	// Nobody answers there who is of another cluster.
	stranger.cfg.InitialCluster = list[:2]
	stranger.mustStart()
	stranger.mustHold("b")
	if stranger.ClusterID() != cluster {
		t.Errorf("it is of cluster %s, before %s", stranger.ClusterID(), cluster)
	}
}

// One member that answers is enough for a list with a stranger in it.
func TestBootstrap_ListThatHasChanged(t *testing.T) {
	stranger := startNamed(t, "stranger", coordinator.Versions{})
	waitLeader(t, stranger)
	c := startCluster(t, 3, nil)
	mustAppend(t, "a", c.nodes...)
	tn := c.without(c.leader())[0]
	tn.Kill()
	tn.cfg.InitialCluster = append(slices.Clone(tn.cfg.InitialCluster), InitialMember{Name: "reused", Address: stranger.Address()})
	tn.mustStart()
	tn.mustHold("a")
}
