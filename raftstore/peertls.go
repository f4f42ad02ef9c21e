package raftstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// nodeDomain ends the DNS name by which a certificate says whose it is: that of
// the node n1 has n1.node.holdfast among its subject alternative names. Hosts and
// clients have no reason to have such a name, so a certificate that an authority
// gave to a client is no node's.
const nodeDomain = ".node.holdfast"

// peerTLS secures the peer port, in both directions with certificates. nil: there
// is no TLS.
type peerTLS struct {
	files *tlsfiles.Source
}

// openPeerTLS reads the files and sees to it that others will accept this node's
// certificate.
func openPeerTLS(files tlsfiles.Files, name string, log *slog.Logger) (*peerTLS, error) {
	set := files.Cert.Name + files.Key.Name + files.CA.Name
	if set == "" {
		return nil, nil
	}
	if err := files.Incomplete(); err != nil {
		return nil, err
	}
	for _, f := range []struct{ file, other tlsfiles.File }{{files.Cert, files.CA}, {files.CA, files.Cert}} {
		if f.file.Name == "" {
			return nil, &tlsfiles.Missing{Setting: f.file.Setting, Because: fmt.Sprintf("%s is %s: nodes always show each other certificates", f.other.Setting, f.other.Name)}
		}
	}
	src, err := tlsfiles.Open(files, func(m *tlsfiles.Material) error { return checkOwn(files, m, name) }, log)
	if err != nil {
		return nil, err
	}
	return &peerTLS{src}, nil
}

func checkOwn(files tlsfiles.Files, m *tlsfiles.Material, name string) error {
	if err := files.VerifiedBy(m, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth); err != nil {
		return err
	}
	if m.Cert.Leaf.VerifyHostname(name+nodeDomain) != nil {
		return files.Cert.Errorf("the certificate has the DNS names [%s] and not %s, so it is not that of the node %s", strings.Join(m.Cert.Leaf.DNSNames, ", "), name+nodeDomain, name)
	}
	return nil
}

// accept does the handshake of a connection that came.
func (t *peerTLS) accept(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	cfg := t.files.Server()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := t.files.Server()
		now.GetConfigForClient, now.VerifyConnection = nil, mustBeNode
		return now, nil
	}
	conn := tls.Server(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// dial does the handshake of a connection that was opened. Which node answers is
// in the frame that follows, so the certificate is not compared with the address:
// it must be of the authority and a node's, and then that of the node which the
// frame names.
func (t *peerTLS) dial(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	cfg := t.files.Client("")
	roots := cfg.RootCAs
	cfg.InsecureSkipVerify = true // of the address alone: the next line does the rest
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		chain := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			chain.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return mustBeNode(s)
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, tlsfiles.ExplainDial(err)
	}
	return conn, nil
}

// mustBeNode refuses certificates that are no node's before anything is said.
func mustBeNode(s tls.ConnectionState) error {
	c := s.PeerCertificates[0]
	if slices.ContainsFunc(c.DNSNames, func(n string) bool { return strings.HasSuffix(strings.ToLower(n), nodeDomain) }) {
		return nil
	}
	return fmt.Errorf("%w: it has the DNS names [%s], and that of a node has NAME%s", ErrWrongCertificate, strings.Join(c.DNSNames, ", "), nodeDomain)
}

// certificateOf is what the other end has shown, nil without TLS.
func certificateOf(conn net.Conn) *x509.Certificate {
	p, ok := conn.(*peerConn)
	if !ok {
		return nil
	}
	t, ok := p.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	return t.ConnectionState().PeerCertificates[0]
}

// proves compares what a node says of itself with its certificate, and with the
// name that its id is known by: else one node could speak as another one.
func (i *identity) proves(c *x509.Certificate, id, name string) error {
	if c == nil {
		return nil
	}
	if c.VerifyHostname(name+nodeDomain) != nil {
		return fmt.Errorf("%w: it has the DNS names [%s] and was shown by a node that calls itself %s, whose has %s", ErrWrongCertificate, strings.Join(c.DNSNames, ", "), name, name+nodeDomain)
	}
	if known := i.nameOf(id); known != "" && known != name {
		return fmt.Errorf("%w: it is that of %s, and the node %s is known here as %s; a node keeps its name", ErrWrongCertificate, name, id, known)
	}
	return nil
}

func (i *identity) nameOf(id string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.names[id]
}

// plaintext tells whether a handshake failed because a dialer that is one of ours
// does not speak TLS.
func plaintext(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && string(header.RecordHeader[:len(frameMagic)]) == frameMagic
}
