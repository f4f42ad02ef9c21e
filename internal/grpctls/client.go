package grpctls

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// The variables that say how a client's connections are secured.
const (
	CAVariable         = "HOLDFAST_TLS_CA_FILE"
	CertVariable       = "HOLDFAST_TLS_CERT_FILE"
	KeyVariable        = "HOLDFAST_TLS_KEY_FILE"
	ServerNameVariable = "HOLDFAST_TLS_SERVER_NAME"
)

// Settings say how a client's connections are secured: not at all where all of
// them are empty.
type Settings struct {
	// Files: CA is what turns TLS on; certificate and key are for nodes that
	// demand one.
	Files tlsfiles.Files
	// ServerName is what the nodes' certificates must be for, instead of the host
	// that is dialed; ServerNameSetting is where it came from.
	ServerName, ServerNameSetting string
}

// FromEnvironment are the settings of a process.
func FromEnvironment(getenv func(string) string) Settings {
	file := func(name string) tlsfiles.File { return tlsfiles.File{Setting: name, Name: getenv(name)} }
	return Settings{
		Files:      tlsfiles.Files{CA: file(CAVariable), Cert: file(CertVariable), Key: file(KeyVariable)},
		ServerName: getenv(ServerNameVariable), ServerNameSetting: ServerNameVariable,
	}
}

// On tells whether connections are to be secured.
func (s Settings) On() bool { return s.Files.CA.Name != "" }

// Environment are the variables that make another process use the same settings.
func (s Settings) Environment() []string {
	var out []string
	for _, v := range [][2]string{
		{CAVariable, s.Files.CA.Name}, {CertVariable, s.Files.Cert.Name}, {KeyVariable, s.Files.Key.Name}, {ServerNameVariable, s.ServerName},
	} {
		if v[1] != "" {
			out = append(out, v[0]+"="+v[1])
		}
	}
	return out
}

// Override are variables for a process that is to use these settings whatever its
// environment has: all of them, empty where they are not set.
func (s Settings) Override() []string {
	return []string{
		CAVariable + "=" + s.Files.CA.Name, CertVariable + "=" + s.Files.Cert.Name, KeyVariable + "=" + s.Files.Key.Name,
		ServerNameVariable + "=" + s.ServerName,
	}
}

// check tells what is set in vain: a client that means to have TLS must not go
// without.
func (s Settings) check() error {
	if m := s.Files.Incomplete(); m != nil {
		return m
	}
	if s.On() {
		return nil
	}
	if f := s.Files.Cert; f.Name != "" {
		return &tlsfiles.Missing{Setting: s.Files.CA.Setting, Because: fmt.Sprintf("%s is %s, which is for TLS: the authorities of the nodes are needed", f.Setting, f.Name)}
	}
	if s.ServerName != "" {
		return &tlsfiles.Missing{Setting: s.Files.CA.Setting, Because: fmt.Sprintf("%s is %s, which is for TLS: the authorities of the nodes are needed", s.ServerNameSetting, s.ServerName)}
	}
	return nil
}

// Client secures a client's connections. The zero value does not.
type Client struct {
	files      *tlsfiles.Source
	serverName string
}

// Open reads the files. A file that cannot be used is an error that names it and
// the setting.
func (s Settings) Open() (*Client, error) {
	if err := s.check(); err != nil || !s.On() {
		return &Client{}, err
	}
	files, err := tlsfiles.Open(s.Files, nil, nil)
	if err != nil {
		return nil, err
	}
	return &Client{files: files, serverName: s.ServerName}, nil
}

// Credentials are those of one connection to an address.
func (c *Client) Credentials() *Credentials {
	if c == nil || c.files == nil {
		return &Credentials{TransportCredentials: insecure.NewCredentials()}
	}
	info := insecure.NewCredentials().Info()
	info.SecurityProtocol = "tls"
	return &Credentials{TransportCredentials: insecure.NewCredentials(), client: c, info: &info, refusal: &atomic.Pointer[error]{}}
}

// Credentials implement credentials.TransportCredentials, and remember why a
// handshake failed: gRPC only keeps the text.
type Credentials struct {
	credentials.TransportCredentials
	client  *Client
	info    *credentials.ProtocolInfo
	refusal *atomic.Pointer[error]
}

// Refusal is why the newest handshake failed, nil if it did not.
func (c *Credentials) Refusal() error {
	if c.refusal == nil {
		return nil
	}
	if err := c.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// ClientHandshake implements credentials.TransportCredentials. Each connection
// takes the files as they are now.
func (c *Credentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.client == nil {
		return c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	}
	if c.client.serverName != "" {
		authority = c.client.serverName // what gRPC compares the certificate with
	}
	now := credentials.NewTLS(c.client.files.Client("", protocol))
	conn, auth, err := now.ClientHandshake(ctx, authority, raw)
	if err != nil {
		if ctx.Err() == nil {
			err = tlsfiles.ExplainDial(err)
			c.refusal.Store(&err)
		}
		return nil, nil, err
	}
	c.refusal.Store(nil)
	return &explainedConn{Conn: conn, refusal: c.refusal}, auth, nil
}

// Info implements credentials.TransportCredentials.
func (c *Credentials) Info() credentials.ProtocolInfo {
	if c.info != nil {
		return *c.info
	}
	return c.TransportCredentials.Info()
}

// Clone implements credentials.TransportCredentials. Clones share what they
// remember.
func (c *Credentials) Clone() credentials.TransportCredentials {
	clone := *c
	return &clone
}

// explainedConn says what an alert means: in TLS 1.3 a node refuses a
// certificate when the client's handshake is over.
type explainedConn struct {
	net.Conn
	refusal *atomic.Pointer[error]
}

// Read implements net.Conn.
func (c *explainedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && tlsfiles.IsAlert(err) {
		err = tlsfiles.ExplainDial(err)
		refusal := err
		c.refusal.Store(&refusal)
	}
	return n, err
}
