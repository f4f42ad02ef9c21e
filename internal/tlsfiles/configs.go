package tlsfiles

import "crypto/tls"

// Server is the configuration of the accepting end: TLS 1.3, and where there is a
// file of authorities, a certificate of one of them is demanded. Nothing is
// resumed, so that every connection is judged by the files as they are when it
// begins.
func (s *Source) Server(protocols ...string) *tls.Config {
	c := s.server(protocols)
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.server(protocols), nil }
	return c
}

func (s *Source) server(protocols []string) *tls.Config {
	m := s.Current()
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, SessionTicketsDisabled: true, Certificates: []tls.Certificate{*m.Cert}}
	if m.Roots != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, m.Roots
	}
	return c
}

// Client is the configuration of one dialed connection, from the files as they
// are now.
func (s *Source) Client(serverName string, protocols ...string) *tls.Config {
	m := s.Current()
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, ServerName: serverName, RootCAs: m.Roots}
	if m.Cert != nil {
		// Also where the other end lists authorities that are not this one's: its
		// refusal says more than that no certificate was shown.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.Cert, nil }
	}
	return c
}
