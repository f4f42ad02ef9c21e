package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// HandshakeError is a handshake that failed, in words for a person. It unwraps to
// what crypto/tls said.
type HandshakeError struct {
	text string
	err  error
}

// Error implements error.
func (e *HandshakeError) Error() string { return e.text }

// Unwrap returns the error of crypto/tls.
func (e *HandshakeError) Unwrap() error { return e.err }

// ExplainAccept says why a handshake failed on the accepting end.
func ExplainAccept(err error) error {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && header.Conn != nil:
		return explained(err, "it does not speak TLS, and this port has nothing else")
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		return explained(err, "it shows no certificate, and this port demands one")
	case strings.Contains(err.Error(), "client offered only unsupported versions"):
		return explained(err, "it does not speak TLS 1.3")
	}
	return explain(err)
}

// ExplainDial says why a handshake failed on the dialing end, also where that is
// learned from the first read after it.
func ExplainDial(err error) error {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header):
		return explained(err, "it answers without TLS")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return explained(err, "it ended the TLS handshake; perhaps it has no TLS")
	}
	return explain(err)
}

func explain(err error) error {
	var verification *tls.CertificateVerificationError
	invalid, name := x509.CertificateInvalidError{}, x509.HostnameError{}
	leaf := "its certificate"
	if errors.As(err, &verification) && len(verification.UnverifiedCertificates) > 0 {
		leaf = "its certificate " + subject(verification.UnverifiedCertificates[0])
	}
	switch {
	case IsAlert(err):
		return explained(err, "it refuses the certificate of this side (%s)", alert(err))
	case errors.As(err, &x509.UnknownAuthorityError{}):
		return explained(err, "%s is of an authority that is not known here", leaf)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return explained(err, "%s has expired or is not valid yet: it is valid from %s to %s", leaf, day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return explained(err, "%s is not made for this: its extended key usage does not fit", leaf)
	case errors.As(err, &name):
		return explained(err, "%s is for %s and not for %s", leaf, names(name.Certificate), name.Host)
	}
	return explained(err, "%s", err.Error())
}

func explained(err error, format string, args ...any) error {
	return &HandshakeError{text: fmt.Sprintf(format, args...), err: err}
}

// IsAlert tells whether the other end broke the connection off with an alert: in
// TLS 1.3 that is how it refuses a certificate, after the dialing end's handshake
// is over.
func IsAlert(err error) bool { return alert(err) != "" }

func alert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	return strings.Join(all, ", ")
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Linger sees to it that an alert reaches the other end: what that has sent
// meanwhile would make closing a reset, which may overtake it. It waits at most
// until limit for the other end to close.
func Linger(conn net.Conn, limit time.Time) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(limit) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, maxLinger) // it ends with the other end, the limit or the bound
}

const maxLinger = 64 << 10
