package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// The files of a --tls-dir beside NAME.crt and NAME.key of each node.
const (
	caFile     = "ca.crt"
	clientCert = "client.crt"
	clientKey  = "client.key"
)

// checkTLSDir tells which files a cluster of n nodes misses, and makes the name
// absolute: the nodes are started again from elsewhere.
func checkTLSDir(dir string, n int) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	want := []string{caFile, clientCert, clientKey}
	for i := range n {
		want = append(want, fmt.Sprintf("n%d.crt", i+1), fmt.Sprintf("n%d.key", i+1))
	}
	return abs, mustHave(abs, want)
}

// checkCertificate tells what a node that is added misses.
func (c *Cluster) checkCertificate(node string) error {
	if c.tlsDir == "" {
		return nil
	}
	return mustHave(c.tlsDir, []string{node + ".crt", node + ".key"})
}

func mustHave(dir string, want []string) error {
	var missing []string
	for _, name := range want {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			missing = append(missing, name)
		}
	}
	if missing == nil {
		return nil
	}
	return exit.Errorf(exit.Usage, "--tls-dir %s has no %s; needed are %s", dir, strings.Join(missing, ", "), strings.Join(want, ", "))
}

// tlsArgs are a node's flags of TLS: the certificate of a node serves both ports.
func (c *Cluster) tlsArgs(node string) []string {
	if c.tlsDir == "" {
		return nil
	}
	cert, key, ca := filepath.Join(c.tlsDir, node+".crt"), filepath.Join(c.tlsDir, node+".key"), filepath.Join(c.tlsDir, caFile)
	return []string{
		"--tls-client-cert-file", cert, "--tls-client-key-file", key, "--tls-client-ca-file", ca,
		"--tls-peer-cert-file", cert, "--tls-peer-key-file", key, "--tls-peer-ca-file", ca,
	}
}

// ClientTLS is how clients speak to the cluster: the zero value without TLS.
func (c *Cluster) ClientTLS() grpctls.Settings {
	if c.tlsDir == "" {
		return grpctls.Settings{}
	}
	file := func(setting, name string) tlsfiles.File {
		return tlsfiles.File{Setting: setting, Name: filepath.Join(c.tlsDir, name)}
	}
	return grpctls.Settings{Files: tlsfiles.Files{
		CA: file(grpctls.CAVariable, caFile), Cert: file(grpctls.CertVariable, clientCert), Key: file(grpctls.KeyVariable, clientKey),
	}}
}
