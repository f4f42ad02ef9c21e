package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// parse makes material of the contents of the files, whose names it tells in
// errors. Content never is in an error: one of the files is a secret.
func (s *Source) parse(raw [][]byte) (*Material, error) {
	m := &Material{}
	var err error
	if s.files.Cert.Name != "" {
		if m.Cert, err = s.files.pair(raw[0], raw[1]); err != nil {
			return nil, err
		}
	}
	if s.files.CA.Name != "" {
		if m.Roots, err = s.files.CA.pool(raw[2]); err != nil {
			return nil, err
		}
	}
	return m, s.check(m)
}

func (f Files) pair(cert, key []byte) (*tls.Certificate, error) {
	certs, err := f.Cert.certificates(cert)
	if err != nil {
		return nil, err
	}
	if err := f.Cert.valid(certs[0], time.Now()); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil {
		return &pair, nil
	}
	if block, _ := pem.Decode(key); block == nil {
		return nil, f.Key.errorf("has no private key in PEM")
	} else if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, f.Key.errorf("is encrypted with a passphrase; a node has nobody to ask for it")
	}
	// The two errors of crypto/tls about a key that is one, and not the right one.
	if text := err.Error(); text == "tls: private key does not match public key" || text == "tls: private key type does not match public key type" {
		return nil, f.Key.errorf("is not the key of the certificate in %s", f.Cert.Name)
	}
	return nil, f.Key.errorf("has no private key that can be used: %w", err)
}

// certificates are those in PEM, at least one.
func (f File) certificates(raw []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, f.errorf("has a certificate that does not parse: %w", err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, f.errorf("has no certificate in PEM")
	}
	return out, nil
}

func (f File) pool(raw []byte) (*x509.CertPool, error) {
	certs, err := f.certificates(raw)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	usable, last := 0, error(nil)
	for _, c := range certs {
		// An old authority may stay in the file, as long as there is another one.
		if err := f.valid(c, time.Now()); err != nil {
			last = err
			continue
		}
		usable++
		pool.AddCert(c)
	}
	if usable == 0 {
		return nil, last
	}
	return pool, nil
}

func (f File) valid(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return f.errorf("the certificate %s has expired: it was valid until %s", subject(c), c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return f.errorf("the certificate %s is not valid before %s", subject(c), c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// errorf begins with the setting and the file.
func (f File) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", f.Setting, f.Name, fmt.Errorf(format, args...))
}

// Errorf is an error about the file, which it names with its setting.
func (f File) Errorf(format string, args ...any) error { return f.errorf(format, args...) }

// VerifiedBy checks that the certificate is accepted by those who have the same
// authorities, for each of the uses.
func (f Files) VerifiedBy(m *Material, uses ...x509.ExtKeyUsage) error {
	intermediates := x509.NewCertPool()
	for _, der := range m.Cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(c)
		}
	}
	for _, use := range uses {
		_, err := m.Cert.Leaf.Verify(x509.VerifyOptions{Roots: m.Roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{use}})
		invalid := x509.CertificateInvalidError{}
		switch {
		case err == nil:
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return f.Cert.errorf("the certificate %s has an extended key usage without %s", subject(m.Cert.Leaf), useName(use))
		case errors.As(err, &x509.UnknownAuthorityError{}):
			return f.Cert.errorf("the certificate %s is of no authority in %s (%s)", subject(m.Cert.Leaf), f.CA.Name, f.CA.Setting)
		default:
			return f.Cert.errorf("the certificate %s: %w", subject(m.Cert.Leaf), err)
		}
	}
	return nil
}

func useName(u x509.ExtKeyUsage) string {
	if u == x509.ExtKeyUsageClientAuth {
		return "clientAuth"
	}
	return "serverAuth"
}

// subject names a certificate in a message.
func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return "without a subject"
}
