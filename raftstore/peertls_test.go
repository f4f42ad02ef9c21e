package raftstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
	"github.com/holdfast-io/holdfast/internal/tlstest"
)

// lockedLog is a log that may be read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func nodeLeaf(name string) tlstest.Leaf {
	return tlstest.Leaf{Name: name, Hosts: []string{name + nodeDomain}}
}

// peerFiles writes a certificate and names it as a node's settings do.
func peerFiles(t testing.TB, dir string, ca *tlstest.CA, trusted []byte, l tlstest.Leaf) tlsfiles.Files {
	t.Helper()
	cert, key := ca.Write(dir, l.Name, l)
	return tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "tls.peer.cert-file", Name: cert}, Key: tlsfiles.File{Setting: "tls.peer.key-file", Name: key},
		CA: tlsfiles.File{Setting: "tls.peer.ca-file", Name: tlstest.WriteFile(t, filepath.Join(dir, "ca.crt"), trusted)},
	}
}

// startTLSCluster starts nodes n1 to n3 with certificates of ca.
func startTLSCluster(t *testing.T, ca *tlstest.CA, log *lockedLog) *testCluster {
	t.Helper()
	dir, n := t.TempDir(), 0
	return startCluster(t, 3, func(cfg *Config) {
		n++
		cfg.PeerTLS = peerFiles(t, filepath.Join(dir, cfg.NodeName), ca, ca.PEM, nodeLeaf(cfg.NodeName))
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
}

func TestPeerTLS_ClusterWorks(t *testing.T) {
	c := startTLSCluster(t, tlstest.NewCA(t, "ca"), &lockedLog{})
	mustAppend(t, "a", c.nodes...)
	old := c.leader()
	old.Kill()
	mustAppend(t, "b", c.without(old)...)
	old.mustStart()
	for _, n := range c.nodes {
		n.mustHold("a", "b")
	}
}

// stranger dials a peer port as a program of its own would: with these files, or
// without TLS if there are none, as a node of this id and name.
type stranger struct {
	files    tlsfiles.Files
	id, name string
}

func (s stranger) dial(t *testing.T, target *testNode, kind connKind) error {
	t.Helper()
	p := &peerPort{
		self:    &identity{name: s.name, versions: coordinator.Supported(), rec: identityRecord{NodeID: s.id, ClusterID: target.ClusterID()}, names: map[string]string{}},
		timeout: patience, conns: map[*peerConn]struct{}{},
	}
	if s.files.Cert.Name != "" || s.files.CA.Name != "" {
		src, err := tlsfiles.Open(s.files, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.tls = &peerTLS{src}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := p.dial(ctx, kind, target.ID(), target.Address())
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// TestPeerTLS_Table has everybody who is refused at the port of n2, with what they
// are told and what n2 logs, while the cluster goes on (invariant 13).
func TestPeerTLS_Table(t *testing.T) {
	ca, other, dir, log := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other"), t.TempDir(), &lockedLog{}
	c := startTLSCluster(t, ca, log)
	c.leader()
	n1, n2 := c.nodes[0], c.nodes[1]
	files := func(by *tlstest.CA, trusted []byte, name string, l tlstest.Leaf) tlsfiles.Files {
		l.Name = name
		return peerFiles(t, filepath.Join(dir, name), by, trusted, l)
	}
	own := files(ca, ca.PEM, "n1", nodeLeaf("n1"))
	noCert := tlsfiles.Files{CA: own.CA}
	const newID = "00000000000000000000000000000009"
	for i, s := range []struct {
		what string
		stranger
		told, logged string // empty: it is let in
	}{
		{"n1 itself", stranger{files: own, id: n1.ID(), name: "n1"}, "", ""},
		{"a new node", stranger{files: files(ca, ca.PEM, "n4", nodeLeaf("n4")), id: newID, name: "n4"}, "", ""},
		{"no TLS", stranger{id: n1.ID(), name: "n1"},
			"raftstore: bad handshake: this node's peer port needs TLS: see tls.peer.cert-file", "it does not speak TLS, and this port has nothing else"},
		{"no certificate", stranger{files: noCert, id: n1.ID(), name: "n1"},
			"it refuses the certificate of this side (tls: certificate required)", "it shows no certificate, and this port demands one"},
		{"another authority", stranger{files: files(other, ca.PEM, "imposter", nodeLeaf("n1")), id: n1.ID(), name: "n1"},
			"it refuses the certificate of this side (tls: unknown certificate authority)", "its certificate CN=imposter is of an authority that is not known here"},
		{"a client's certificate of the same authority", stranger{files: files(ca, ca.PEM, "client", tlstest.Leaf{Hosts: []string{"host1"}}), id: n1.ID(), name: "n1"},
			"it refuses the certificate of this side (tls: bad certificate)", "raftstore: wrong certificate: it has the DNS names [host1], and that of a node has NAME.node.holdfast"},
		{"a certificate for servers only", stranger{files: files(ca, ca.PEM, "server", tlstest.Leaf{Hosts: []string{"n1" + nodeDomain}, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), id: n1.ID(), name: "n1"},
			"it refuses the certificate of this side (tls: bad certificate)", "its certificate CN=server is not made for this: its extended key usage does not fit"},
		{"n1's certificate greets as n3", stranger{files: own, id: c.nodes[2].ID(), name: "n3"},
			"raftstore: wrong certificate: it has the DNS names [n1.node.holdfast] and was shown by a node that calls itself n3, whose has n3.node.holdfast",
			"raftstore: wrong certificate: it has the DNS names [n1.node.holdfast] and was shown by a node that calls itself n3, whose has n3.node.holdfast"},
		{"n1's certificate under the id of n3", stranger{files: own, id: c.nodes[2].ID(), name: "n1"},
			"raftstore: wrong certificate: it is that of n1, and the node " + c.nodes[2].ID() + " is known here as n3; a node keeps its name",
			"is known here as n3; a node keeps its name"},
		{"who does not know the authority of n2", stranger{files: files(ca, other.PEM, "n5", nodeLeaf("n5")), id: newID, name: "n5"},
			"its certificate CN=n2 is of an authority that is not known here", "it refuses the certificate of this side (tls: bad certificate)"},
	} {
		t.Run(s.what, func(t *testing.T) {
			for _, kind := range []connKind{kindRaft, kindRPC, kindHello} {
				err := s.dial(t, n2, kind)
				if s.told == "" && err != nil || s.told != "" && (err == nil || !strings.HasSuffix(err.Error(), s.told)) {
					t.Errorf("kind %d is told\n%v\nwant\n%s", kind, err, s.told)
				}
			}
			waitFor(t, "the log to have "+s.logged+"; it has "+log.String(), func() bool { return log.has(s.logged) })
			mustAppend(t, fmt.Sprint("goes on ", i), c.nodes...)
		})
	}
}

// TestPeerTLS_ExpiredCertificate: one that was let in yesterday is refused.
func TestPeerTLS_ExpiredCertificate(t *testing.T) {
	ca, log := tlstest.NewCA(t, "ca"), &lockedLog{}
	c := startTLSCluster(t, ca, log)
	n2 := c.nodes[1]
	l := nodeLeaf("n1")
	l.NotAfter = time.Now().Add(-time.Minute)
	cert, key := ca.Issue(l)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", n2.Address(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustDeadline(t, conn)
	if _, err := conn.Read(make([]byte, 1)); err == nil || err.Error() != "remote error: tls: expired certificate" {
		t.Errorf("it is told %v", err)
	}
	waitFor(t, "n2 to log it", func() bool { return log.has("its certificate CN=n1 has expired or is not valid yet: it is valid from") })
	mustAppend(t, "goes on", c.nodes...)
}

// TestPeerTLS_WrongNodeAnswers: whoever dials n2 is not content with another node
// that has taken its address and its id.
func TestPeerTLS_WrongNodeAnswers(t *testing.T) {
	ca, other, dir := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other"), t.TempDir()
	c := startTLSCluster(t, ca, &lockedLog{})
	n1, n2 := c.nodes[0], c.nodes[1]
	for _, s := range []struct {
		what, told string
		files      tlsfiles.Files // none: no TLS
		name, id   string
	}{
		{"n3 under the id of n2", "it is that of n3, and the node " + n2.ID() + " is known here as n2; a node keeps its name", peerFiles(t, filepath.Join(dir, "1"), ca, ca.PEM, nodeLeaf("n3")), "n3", n2.ID()},
		{"n3 as n2", "it has the DNS names [n3.node.holdfast] and was shown by a node that calls itself n2, whose has n2.node.holdfast", peerFiles(t, filepath.Join(dir, "2"), ca, ca.PEM, nodeLeaf("n3")), "n2", n2.ID()},
		{"n3 as itself", "raftstore: another node answers at this address: it calls itself 77 (n3)", peerFiles(t, filepath.Join(dir, "3"), ca, ca.PEM, nodeLeaf("n3")), "n3", "77"},
		{"a client", "that of a node has NAME.node.holdfast", peerFiles(t, filepath.Join(dir, "4"), ca, ca.PEM, tlstest.Leaf{Name: "client"}), "n2", n2.ID()},
		{"another authority", "its certificate CN=n2 is of an authority that is not known here", peerFiles(t, filepath.Join(dir, "5"), other, ca.PEM, nodeLeaf("n2")), "n2", n2.ID()},
		{"no TLS", "it ended the TLS handshake; perhaps it has no TLS", tlsfiles.Files{}, "n2", n2.ID()},
	} {
		t.Run(s.what, func(t *testing.T) {
			err := n1.dialImposter(t, s.files, s.id, s.name, n2.ID())
			if err == nil || !strings.HasSuffix(err.Error(), s.told) {
				t.Errorf("n1 is told\n%v\nwant\n%s", err, s.told)
			}
		})
	}
}

// dialImposter lets the node dial another one that answers as it likes.
func (tn *testNode) dialImposter(t *testing.T, files tlsfiles.Files, id, name, target string) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if files.Cert.Name != "" {
			src, err := tlsfiles.Open(files, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			conn = tls.Server(conn, src.Server())
		}
		if _, err := readGreeting(conn); err == nil {
			_ = writeAnswer(conn, answer{Code: answerOK, hello: hello{NodeID: id, Name: name, ClusterID: tn.ClusterID()}})
		}
	})
	conn, _, err := tn.port.dial(t.Context(), kindRaft, target, ln.Addr().String())
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// TestPeerTLS_ToPlaintext: a node with TLS among nodes without is told of it at
// both ends.
func TestPeerTLS_ToPlaintext(t *testing.T) {
	log, ca := &lockedLog{}, tlstest.NewCA(t, "ca")
	cfg := testConfig(t)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	plain := newTestNode(t, cfg)
	plain.mustStart()
	s := stranger{files: peerFiles(t, t.TempDir(), ca, ca.PEM, nodeLeaf("n1")), id: "1", name: "n1"}
	if err := s.dial(t, plain, kindRaft); err == nil || !strings.Contains(err.Error(), "it ended the TLS handshake; perhaps it has no TLS") {
		t.Errorf("the dialer is told %v", err)
	}
	waitFor(t, "the node to log it", func() bool { return log.has("it speaks TLS, and this node's peer port has none") })
	mustAppend(t, "goes on", plain)
}

// TestPeerTLS_Start: what is wrong with the files is told when the node starts.
func TestPeerTLS_Start(t *testing.T) {
	ca, dir := tlstest.NewCA(t, "ca"), t.TempDir()
	files := peerFiles(t, dir, ca, ca.PEM, nodeLeaf("n2"))
	without := func(change func(*tlsfiles.Files)) tlsfiles.Files {
		f := files
		change(&f)
		return f
	}
	for _, c := range []struct {
		files tlsfiles.Files
		want  string
	}{
		{files, "tls.peer.cert-file: " + files.Cert.Name + ": the certificate has the DNS names [n2.node.holdfast] and not n1.node.holdfast, so it is not that of the node n1"},
		{without(func(f *tlsfiles.Files) { f.Key.Name = "" }), "tls.peer.key-file: it is not set, and tls.peer.cert-file is " + files.Cert.Name + ", which needs its key"},
		{without(func(f *tlsfiles.Files) { f.CA.Name = "" }), "tls.peer.ca-file: it is not set, and tls.peer.cert-file is " + files.Cert.Name + ": nodes always show each other certificates"},
		{without(func(f *tlsfiles.Files) { f.Cert.Name, f.Key.Name = "", "" }), "tls.peer.cert-file: it is not set, and tls.peer.ca-file is " + files.CA.Name + ": nodes always show each other certificates"},
	} {
		cfg := testConfig(t)
		cfg.NodeName, cfg.PeerTLS = "n1", c.files
		n, err := Open(t.Context(), cfg, &toyMachine{})
		if err == nil {
			n.Kill()
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("\n%v\nwant\n%s", err, c.want)
		}
	}
}

// TestPeerTLS_FormationSaysWhy: a first member that cannot be spoken to is not
// waited for in silence.
func TestPeerTLS_FormationSaysWhy(t *testing.T) {
	ca, other, dir, log := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other"), t.TempDir(), &lockedLog{}
	c := newTestCluster(t, 2, func(cfg *Config) {
		by := ca
		if cfg.NodeName == "n2" {
			by = other
		}
		cfg.PeerTLS = peerFiles(t, filepath.Join(dir, cfg.NodeName), by, by.PEM, nodeLeaf(cfg.NodeName))
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() {
			if err := n.tryStart(ctx); !errors.Is(err, ErrTimeout) {
				t.Errorf("start: %v", err)
			}
		})
	}
	for _, name := range []string{"n1", "n2"} {
		waitFor(t, "a warning about "+name, func() bool {
			return log.has("its certificate CN=" + name + " is of an authority that is not known here")
		})
	}
	cancel()
	wg.Wait()
}
