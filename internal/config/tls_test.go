package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func loadFor(t *testing.T, reader Reader, text string) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return problemTexts(Load(Sources{Reader: reader, File: name}), filepath.Dir(name))
}

func TestTLS_HalfConfigured(t *testing.T) {
	const peer = "tls.peer: {cert-file: p.crt, key-file: p.key, ca-file: ca.crt}"
	for text, want := range map[string]string{
		"tls.client.cert-file: c.crt":                   "hf.yaml:1: tls.client.cert-file: tls.client.key-file is not set, and tls.client.cert-file is c.crt, which needs its key",
		"tls.client.key-file: c.key":                    "hf.yaml:1: tls.client.key-file: tls.client.cert-file is not set, and tls.client.key-file is c.key, which needs its certificate",
		"tls.client.ca-file: ca.crt":                    "hf.yaml:1: tls.client.ca-file: tls.client.cert-file is not set, and tls.client.ca-file is ca.crt, which clients are judged by once the port has TLS: its certificate is needed",
		"tls.peer: {cert-file: p.crt, key-file: p.key}": "hf.yaml:1: tls.peer.cert-file: tls.peer.ca-file is not set, and tls.peer.cert-file is p.crt, and nodes always show each other certificates: their authorities are needed",
		"tls.peer.ca-file: ca.crt":                      "hf.yaml:1: tls.peer.ca-file: tls.peer.cert-file is not set, and tls.peer.ca-file is ca.crt, and nodes always show each other certificates: this node's is needed",
		peer:                                            "",
		"tls.client: {cert-file: c.crt, key-file: c.key}\nlisten: 0.0.0.0:7070": "",
		peer + "\npeer-listen: 0.0.0.0:7080":                                    "",
		peer + "\nlisten: 0.0.0.0:7070": "hf.yaml:2: listen: 0.0.0.0:7070 is not a loopback address, and this port has no TLS: anyone who reaches it could read and change state; " +
			"set tls.client.cert-file, use 127.0.0.1, or set insecure-listen if the network is trusted",
		"peer-listen: 0.0.0.0:7080": "hf.yaml:1: peer-listen: 0.0.0.0:7080 is not a loopback address, and this port has no TLS: anyone who reaches it could read and change state; " +
			"set tls.peer.cert-file, use 127.0.0.1, or set insecure-listen if the network is trusted",
	} {
		if got := loadFor(t, ForNode, text); strings.Join(got, "\n") != want {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

// TestTLS_CheckLeavesToFlags: a file that all nodes share may leave to each what
// is its own.
func TestTLS_CheckLeavesToFlags(t *testing.T) {
	for text, valid := range map[string]bool{
		"tls.peer.ca-file: ca.crt\npeer-listen: 0.0.0.0:7080": true,
		"peer-listen: 0.0.0.0:7080":                           false,
	} {
		if got := loadFor(t, ForCheck, text); (got == nil) != valid {
			t.Errorf("%s: %q", text, got)
		}
	}
}
