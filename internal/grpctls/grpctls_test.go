package grpctls

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/internal/tlsfiles"
	"github.com/holdfast-io/holdfast/internal/tlstest"
)

const patience = 30 * time.Second

var serverOnly = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// node is a gRPC server with the health service.
type node struct {
	address string
	log     *logBuffer
}

func startNode(t *testing.T, creds func(*slog.Logger) credentials.TransportCredentials) *node {
	t.Helper()
	n := &node{log: &logBuffer{}}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = lis.Addr().String()
	g := grpc.NewServer(grpc.Creds(creds(slog.New(slog.NewTextHandler(n.log, nil)))))
	healthv1.RegisterHealthServer(g, health.NewServer())
	go func() { _ = g.Serve(lis) }() // ends with Stop
	t.Cleanup(g.Stop)
	return n
}

// startTLSNode starts a node with a certificate of ca; mutual if it has clients.
func startTLSNode(t *testing.T, dir string, ca *tlstest.CA, clients []byte) *node {
	t.Helper()
	cert, key := ca.Write(dir, "n1", tlstest.Leaf{Name: "n1", Hosts: []string{"127.0.0.1"}})
	files := tlsfiles.Files{Cert: tlsfiles.File{Setting: "cert-file", Name: cert}, Key: tlsfiles.File{Setting: "key-file", Name: key}}
	if clients != nil {
		files.CA = tlsfiles.File{Setting: "ca-file", Name: tlstest.WriteFile(t, filepath.Join(dir, "clients.crt"), clients)}
	}
	src, err := tlsfiles.Open(files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return startNode(t, func(log *slog.Logger) credentials.TransportCredentials { return NewServer(src, log) })
}

func file(setting, name string) tlsfiles.File { return tlsfiles.File{Setting: setting, Name: name} }

// call makes one call with settings, and returns the error and what the
// credentials remember.
func call(t *testing.T, address string, s Settings) (err, refusal error) {
	t.Helper()
	c, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	creds := c.Credentials()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err, creds.Refusal()
}

// TestClient_Table has every way in which a client and a port do not fit, with
// what both are told.
func TestClient_Table(t *testing.T) {
	dir := t.TempDir()
	ca, other := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other")
	mutual, open := startTLSNode(t, filepath.Join(dir, "mutual"), ca, ca.PEM), startTLSNode(t, filepath.Join(dir, "open"), ca, nil)
	plain := startNode(t, func(*slog.Logger) credentials.TransportCredentials { return insecure.NewCredentials() })
	roots, otherRoots := tlstest.WriteFile(t, filepath.Join(dir, "ca.crt"), ca.PEM), tlstest.WriteFile(t, filepath.Join(dir, "other.crt"), other.PEM)
	settings := func(ca *tlstest.CA, name string, l tlstest.Leaf) Settings {
		l.Name = name
		cert, key := ca.Write(dir, name, l)
		return Settings{Files: tlsfiles.Files{CA: file("ca", roots), Cert: file("cert", cert), Key: file("key", key)}}
	}
	long := time.Now().Add(-48 * time.Hour)
	good := settings(ca, "client", tlstest.Leaf{})
	none := Settings{Files: tlsfiles.Files{CA: file("ca", roots)}}
	for _, c := range []struct {
		name     string
		settings Settings
		node     *node
		// client is part of what the client is told, empty where it is answered;
		// log is part of what the node logs.
		client, log string
		typed       bool
	}{
		{name: "a certificate of the authority", settings: good, node: mutual},
		{name: "no certificate where none is demanded", settings: none, node: open},
		{name: "a certificate where none is demanded", settings: good, node: open},
		{name: "no certificate", settings: none, node: mutual, typed: true,
			client: "it refuses the certificate of this side (tls: certificate required)", log: "it shows no certificate, and this port demands one"},
		{name: "a certificate of another authority", settings: settings(other, "stranger", tlstest.Leaf{}), node: mutual, typed: true,
			client: "it refuses the certificate of this side (tls: unknown certificate authority)", log: "its certificate CN=stranger is of an authority that is not known here"},
		{name: "another common name", settings: settings(ca, "spare", tlstest.Leaf{}), node: mutual},
		{name: "a certificate for servers", settings: settings(ca, "server", tlstest.Leaf{Uses: serverOnly}), node: mutual, typed: true,
			client: "it refuses the certificate of this side (tls: bad certificate)", log: "its certificate CN=server is not made for this: its extended key usage does not fit"},
		{name: "a node of another authority", settings: Settings{Files: tlsfiles.Files{CA: file("ca", otherRoots)}}, node: open, typed: true,
			client: "its certificate CN=n1 is of an authority that is not known here", log: "it refuses the certificate of this side (tls: bad certificate)"},
		{name: "another name than the node's", settings: Settings{Files: none.Files, ServerName: "elsewhere"}, node: open, typed: true,
			client: "its certificate CN=n1 is for 127.0.0.1 and not for elsewhere", log: "it refuses the certificate of this side (tls: bad certificate)"},
		{name: "no TLS to a port with TLS", settings: Settings{}, node: mutual,
			client: needsTLS, log: "it does not speak TLS, and this port has nothing else"},
		{name: "TLS to a port without", settings: good, node: plain, typed: true, client: "it answers without TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err, refusal := call(t, c.node.address, c.settings)
			if c.client == "" {
				if err != nil || refusal != nil {
					t.Fatalf("%v, %v", err, refusal)
				}
				return
			}
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), c.client) {
				t.Errorf("the client is told %v, want %q", err, c.client)
			}
			if c.typed != (refusal != nil) || refusal != nil && !strings.Contains(refusal.Error(), c.client) {
				t.Errorf("the credentials remember %v", refusal)
			}
			if c.log != "" {
				waitFor(t, "the node's log to have "+c.log, func() bool { return strings.Contains(c.node.log.String(), c.log) })
			}
			if err, _ := call(t, c.node.address, good); err != nil && c.node != plain {
				t.Errorf("the node answers nobody any more: %v", err)
			}
		})
	}
	// A certificate that expires while a client runs is refused by the node alone.
	expired, key := ca.Issue(tlstest.Leaf{Name: "late", NotBefore: long, NotAfter: long.Add(time.Hour)})
	tlstest.WriteFile(t, filepath.Join(dir, "late.crt"), expired)
	tlstest.WriteFile(t, filepath.Join(dir, "late.key"), key)
	late := Settings{Files: tlsfiles.Files{CA: file("ca", roots), Cert: file("cert", filepath.Join(dir, "late.crt")), Key: file("key", filepath.Join(dir, "late.key"))}}
	want := "cert: " + filepath.Join(dir, "late.crt") + ": the certificate CN=late has expired: it was valid until " + long.Add(time.Hour).UTC().Format(time.RFC3339)
	if _, err := late.Open(); err == nil || err.Error() != want {
		t.Errorf("an expired certificate: %v\nwant %s", err, want)
	}
}

// TestClient_Rotation: the files of both ends are replaced, and then the old
// authority is removed. New connections take what is there; who still has the
// old certificate is refused.
func TestClient_Rotation(t *testing.T) {
	dir := t.TempDir()
	before, after := tlstest.NewCA(t, "before"), tlstest.NewCA(t, "after")
	n := startTLSNode(t, dir, before, before.PEM)
	roots := tlstest.WriteFile(t, filepath.Join(dir, "ca.crt"), before.PEM)
	cert, key := before.Write(dir, "client", tlstest.Leaf{Name: "client"})
	s := Settings{Files: tlsfiles.Files{CA: file("ca", roots), Cert: file("cert", cert), Key: file("key", key)}}
	c, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	check := func() error {
		conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(c.Credentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
		return err
	}
	old := Settings{Files: tlsfiles.Files{CA: file("ca", tlstest.WriteFile(t, filepath.Join(dir, "both.crt"), append(before.PEM, after.PEM...))),
		Cert: file("cert", filepath.Join(dir, "old.crt")), Key: file("key", filepath.Join(dir, "old.key"))}}
	before.Write(dir, "old", tlstest.Leaf{Name: "old"})
	for _, step := range []func(){
		func() {},
		func() {
			tlstest.WriteFile(t, roots, append(before.PEM, after.PEM...))
			tlstest.WriteFile(t, filepath.Join(dir, "clients.crt"), append(before.PEM, after.PEM...))
		},
		func() { after.Write(dir, "client", tlstest.Leaf{Name: "client"}) },
		func() { after.Write(dir, "n1", tlstest.Leaf{Name: "n1", Hosts: []string{"127.0.0.1"}}) },
		func() {
			if err, _ := call(t, n.address, old); err != nil {
				t.Errorf("the old certificate is refused too early: %v", err)
			}
			tlstest.WriteFile(t, roots, after.PEM)
			tlstest.WriteFile(t, filepath.Join(dir, "clients.crt"), after.PEM)
		},
	} {
		step()
		if err := check(); err != nil {
			t.Fatal(err)
		}
	}
	if err, _ := call(t, n.address, old); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("the old certificate, with its authority removed: %v", err)
	}
}

func TestSettings_HalfConfigured(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.NewCA(t, "ca")
	cert, key := ca.Write(dir, "client", tlstest.Leaf{Name: "client"})
	roots := tlstest.WriteFile(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{CertVariable: cert, KeyVariable: key},
			"HOLDFAST_TLS_CA_FILE: it is not set, and HOLDFAST_TLS_CERT_FILE is " + cert + ", which is for TLS: the authorities of the nodes are needed"},
		{map[string]string{CAVariable: roots, CertVariable: cert}, "HOLDFAST_TLS_KEY_FILE: it is not set, and HOLDFAST_TLS_CERT_FILE is " + cert + ", which needs its key"},
		{map[string]string{CAVariable: roots, KeyVariable: key}, "HOLDFAST_TLS_CERT_FILE: it is not set, and HOLDFAST_TLS_KEY_FILE is " + key + ", which needs its certificate"},
		{map[string]string{ServerNameVariable: "n1"}, "HOLDFAST_TLS_CA_FILE: it is not set, and HOLDFAST_TLS_SERVER_NAME is n1, which is for TLS: the authorities of the nodes are needed"},
		{map[string]string{CAVariable: roots + ".gone"}, "HOLDFAST_TLS_CA_FILE: open " + roots + ".gone: no such file or directory"},
		{map[string]string{CAVariable: roots, CertVariable: cert, KeyVariable: key}, ""},
		{nil, ""},
	} {
		s := FromEnvironment(func(name string) string { return c.env[name] })
		_, err := s.Open()
		if got := message(err); got != c.want {
			t.Errorf("%v:\n%s\nwant\n%s", c.env, got, c.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func waitFor(t *testing.T, awaited string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, awaited)
		}
		<-tick.C
	}
}

// What a process is told outweighs its environment, also that there is no TLS.
func TestSettings_Override(t *testing.T) {
	off := strings.Join(Settings{}.Override(), " ")
	if want := "HOLDFAST_TLS_CA_FILE= HOLDFAST_TLS_CERT_FILE= HOLDFAST_TLS_KEY_FILE= HOLDFAST_TLS_SERVER_NAME="; off != want {
		t.Errorf("got  %s\nwant %s", off, want)
	}
	on := map[string]string{CAVariable: "ca", CertVariable: "cert", KeyVariable: "key", ServerNameVariable: "name"}
	for _, v := range FromEnvironment(func(name string) string { return on[name] }).Override() {
		name, value, _ := strings.Cut(v, "=")
		if on[name] != value || value == "" {
			t.Errorf("%s is %q", name, value)
		}
	}
}
