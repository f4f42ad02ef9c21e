package harness

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
	"github.com/holdfast-io/holdfast/internal/tlstest"
)

// Security is the certificates of a cluster with TLS: an authority for all, a
// certificate for each node that serves both of its ports, and one for clients.
// They lie in a directory as `holdfast cluster start --tls-dir` takes it.
type Security struct {
	t   testing.TB
	dir string
	// CA is the authority of the certificates that are issued now.
	CA *tlstest.CA
}

// NewSecurity makes an authority and certificates of nodes, by their names.
func NewSecurity(t testing.TB, dir string, nodes ...string) *Security {
	t.Helper()
	s := &Security{t: t, dir: dir, CA: tlstest.NewCA(t, "the cluster's authority")}
	s.Trust(s.CA)
	s.Issue(nodes...)
	return s
}

// Dir has ca.crt, and NAME.crt and NAME.key of each node and of "client".
func (s *Security) Dir() string { return s.dir }

// File is the name of a file in Dir.
func (s *Security) File(name string) string { return filepath.Join(s.dir, name) }

// Trust makes nodes and clients accept certificates of these authorities only.
func (s *Security) Trust(authorities ...*tlstest.CA) {
	s.t.Helper()
	var all []byte
	for _, ca := range authorities {
		all = append(all, ca.PEM...)
	}
	tlstest.WriteFile(s.t, s.File("ca.crt"), all)
}

// Issue writes certificates of nodes, and of clients, anew.
func (s *Security) Issue(nodes ...string) {
	s.t.Helper()
	for _, n := range nodes {
		s.CA.Write(s.dir, n, NodeLeaf(n))
	}
	s.CA.Write(s.dir, "client", ClientLeaf())
}

// NodeLeaf is the certificate of a node on this machine, for both of its ports.
func NodeLeaf(name string) tlstest.Leaf {
	return tlstest.Leaf{Name: name, Hosts: []string{name + ".node.holdfast", "localhost", "127.0.0.1"}}
}

// ClientLeaf is the certificate of a client.
func ClientLeaf() tlstest.Leaf {
	return tlstest.Leaf{Name: "client", Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// config is what a node is told.
func (s *Security) config(node string) config.TLS {
	cert, key, ca := s.File(node+".crt"), s.File(node+".key"), s.File("ca.crt")
	return config.TLS{
		Client: config.TLSPort{CertFile: cert, KeyFile: key, CAFile: ca},
		Peer:   config.TLSPeer{CertFile: cert, KeyFile: key, CAFile: ca},
	}
}

func (s *Security) flags(node string) []string {
	cert, key, ca := s.File(node+".crt"), s.File(node+".key"), s.File("ca.crt")
	return []string{
		"--tls-client-cert-file", cert, "--tls-client-key-file", key, "--tls-client-ca-file", ca,
		"--tls-peer-cert-file", cert, "--tls-peer-key-file", key, "--tls-peer-ca-file", ca,
	}
}

// Settings are a client's.
func (s *Security) Settings() grpctls.Settings {
	file := func(setting, name string) tlsfiles.File { return tlsfiles.File{Setting: setting, Name: s.File(name)} }
	return grpctls.Settings{Files: tlsfiles.Files{
		CA: file(grpctls.CAVariable, "ca.crt"), Cert: file(grpctls.CertVariable, "client.crt"), Key: file(grpctls.KeyVariable, "client.key"),
	}}
}

// Environment are the variables of a client process.
func (s *Security) Environment() []string { return s.Settings().Environment() }

// secured are the clusters with TLS, by the client addresses of their nodes, so
// that whoever is told an address knows how to speak to it.
var secured sync.Map

func secureAddresses(t testing.TB, s *Security, addresses ...string) {
	for _, a := range addresses {
		secured.Store(a, s)
	}
	t.Cleanup(func() {
		for _, a := range addresses {
			secured.Delete(a)
		}
	})
}

// Secure tells the harness that nodes at these client addresses have TLS.
func (s *Security) Secure(addresses ...string) { secureAddresses(s.t, s, addresses...) }

// SecurityEnv are the variables of TLS for a process that is told addresses.
func SecurityEnv(addresses []string) []string {
	for _, a := range addresses {
		if s, ok := secured.Load(a); ok {
			return s.(*Security).Environment()
		}
	}
	return nil
}

// ClientEnv are the variables of a client process of the cluster.
func (c *Cluster) ClientEnv() []string {
	return append(SecurityEnv(c.Addresses()), "HOLDFAST_ADDRESS="+strings.Join(c.Addresses(), ","))
}

// credentialsFor are those of a connection to a node.
func credentialsFor(address string) (credentials.TransportCredentials, error) {
	s, ok := secured.Load(address)
	if !ok {
		return insecure.NewCredentials(), nil
	}
	client, err := s.(*Security).Settings().Open()
	if err != nil {
		return nil, err
	}
	return client.Credentials(), nil
}

// Security has the certificates of a cluster with TLS, nil without.
func (c *Cluster) Security() *Security { return c.security }

// DialWith connects to a node with a client's own settings.
func DialWith(addr string, settings grpctls.Settings) (*grpc.ClientConn, error) {
	client, err := settings.Open()
	if err != nil {
		return nil, err
	}
	return dial(addr, client.Credentials())
}

// AllTLS tells whether every cluster has TLS (HOLDFAST_TEST_TLS, 0 or 1).
func AllTLS() bool { return number("HOLDFAST_TEST_TLS", 0) != 0 }

func (c *Cluster) secure() {
	var names, addresses []string
	for _, n := range c.nodes {
		names, addresses = append(names, n.Name), append(addresses, n.ClientAddress, n.ListenAddress)
	}
	c.security = NewSecurity(c.t, filepath.Join(c.dir, "tls"), names...)
	c.security.Secure(addresses...)
	if c.network != nil {
		c.network.secure(c.security)
	}
}

// server takes a connection as a node would; nil: there is no TLS.
func (s *Security) server(conn net.Conn, node int) net.Conn {
	if s == nil {
		return conn
	}
	return tls.Server(conn, s.node(node).Server())
}

// client goes on with a dialed connection as a node would.
func (s *Security) client(conn net.Conn, node int) net.Conn {
	c := s.node(node).Client("")
	c.InsecureSkipVerify = true // the nodes check each other, a proxy nobody
	return tls.Client(conn, c)
}

func (s *Security) node(i int) *tlsfiles.Source {
	name := fmt.Sprintf("n%d", i+1)
	file := func(ending string) tlsfiles.File { return tlsfiles.File{Setting: "proxy", Name: s.File(name + ending)} }
	src, err := tlsfiles.Open(tlsfiles.Files{Cert: file(".crt"), Key: file(".key"), CA: tlsfiles.File{Setting: "proxy", Name: s.File("ca.crt")}}, nil, nil)
	if err != nil {
		// While the files are replaced, as a rotation does.
		return s.node(i)
	}
	return src
}
