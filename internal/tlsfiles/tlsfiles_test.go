package tlsfiles

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/internal/tlstest"
)

// set names files of a directory as a node's settings do.
func set(dir, cert, key, ca string) Files {
	file := func(setting, name string) File {
		if name == "" {
			return File{Setting: setting}
		}
		return File{setting, filepath.Join(dir, name)}
	}
	return Files{Cert: file("cert-file", cert), Key: file("key-file", key), CA: file("ca-file", ca)}
}

// TestOpen_Table: what is wrong with files is told with the setting and the file,
// and nothing of a file's content is.
func TestOpen_Table(t *testing.T) {
	dir := t.TempDir()
	ca, other := tlstest.NewCA(t, "ca"), tlstest.NewCA(t, "other")
	write := func(name string, content []byte) { tlstest.WriteFile(t, filepath.Join(dir, name), content) }
	write("ca.crt", ca.PEM)
	write("other.crt", other.PEM)
	ca.Write(dir, "n1", tlstest.Leaf{Name: "n1"})
	ca.Write(dir, "n2", tlstest.Leaf{Name: "n2"})
	ca.Write(dir, "client", tlstest.Leaf{Name: "client", Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	ended, begins := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	ca.Write(dir, "expired", tlstest.Leaf{Name: "expired", NotAfter: ended})
	ca.Write(dir, "future", tlstest.Leaf{Name: "future", NotBefore: begins})
	write("junk", []byte("hunter2 is no certificate"))
	write("bad.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hunter2")}))
	write("bad.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")}))
	write("locked.key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("hunter2")}))
	in := func(name string) string { return filepath.Join(dir, name) }
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, c := range []struct {
		name  string
		files Files
		want  string // empty: no error
	}{
		{"all three", set(dir, "n1.crt", "n1.key", "ca.crt"), ""},
		{"no authorities", set(dir, "n1.crt", "n1.key", ""), ""},
		{"authorities alone", set(dir, "", "", "ca.crt"), ""},
		{"no key", set(dir, "n1.crt", "", "ca.crt"), "key-file: it is not set, and cert-file is " + in("n1.crt") + ", which needs its key"},
		{"no certificate", set(dir, "", "n1.key", "ca.crt"), "cert-file: it is not set, and key-file is " + in("n1.key") + ", which needs its certificate"},
		{"a certificate that is not there", set(dir, "n9.crt", "n1.key", "ca.crt"), "cert-file: open " + in("n9.crt") + ": no such file or directory"},
		{"nothing there", set(dir, "n9.crt", "n9.key", "n9.ca"), "cert-file: open " + in("n9.crt") + ": no such file or directory\nkey-file: open " + in("n9.key") + ": no such file or directory\nca-file: open " + in("n9.ca") + ": no such file or directory"},
		{"a directory", Files{CA: File{"ca-file", dir}}, "ca-file: read " + dir + ": is a directory"},
		{"the key of another certificate", set(dir, "n1.crt", "n2.key", ""), "key-file: " + in("n2.key") + ": is not the key of the certificate in " + in("n1.crt")},
		{"a certificate that is none", set(dir, "junk", "n1.key", ""), "cert-file: " + in("junk") + ": has no certificate in PEM"},
		{"a key in the place of a certificate", set(dir, "n1.key", "n1.key", ""), "cert-file: " + in("n1.key") + ": has no certificate in PEM"},
		{"a certificate that does not parse", set(dir, "bad.crt", "n1.key", ""), "cert-file: " + in("bad.crt") + ": has a certificate that does not parse: x509: malformed certificate"},
		{"a key that is none", set(dir, "n1.crt", "junk", ""), "key-file: " + in("junk") + ": has no private key in PEM"},
		{"a key with a passphrase", set(dir, "n1.crt", "locked.key", ""), "key-file: " + in("locked.key") + ": is encrypted with a passphrase; a node has nobody to ask for it"},
		{"authorities that are none", set(dir, "n1.crt", "n1.key", "junk"), "ca-file: " + in("junk") + ": has no certificate in PEM"},
		{"expired", set(dir, "expired.crt", "expired.key", ""), "cert-file: " + in("expired.crt") + ": the certificate CN=expired has expired: it was valid until " + ended.UTC().Format(time.RFC3339)},
		{"not valid yet", set(dir, "future.crt", "future.key", ""), "cert-file: " + in("future.crt") + ": the certificate CN=future is not valid before " + begins.UTC().Format(time.RFC3339)},
		{"an authority that has expired", set(dir, "", "", "expired.crt"), "ca-file: " + in("expired.crt") + ": the certificate CN=expired has expired: it was valid until " + ended.UTC().Format(time.RFC3339)},
		{"another authority", set(dir, "n1.crt", "n1.key", "other.crt"), "cert-file: " + in("n1.crt") + ": the certificate CN=n1 is of no authority in " + in("other.crt") + " (ca-file)"},
		{"a client's certificate", set(dir, "client.crt", "client.key", "ca.crt"), "cert-file: " + in("client.crt") + ": the certificate CN=client has an extended key usage without serverAuth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.files, func(m *Material) error {
				if m.Cert == nil || m.Roots == nil {
					return nil
				}
				return c.files.VerifiedBy(m, both...)
			}, nil)
			if got := message(err); got != c.want {
				t.Errorf("\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	for name, content := range map[string]string{"bad.key": "has no private key that can be used: "} {
		_, err := Open(set(dir, "n1.crt", name, ""), nil, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "key-file: "+in(name)+": "+content) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSource_TakesUpChanges: each state of the files in a rotation, with what is in
// use and what is logged, once.
func TestSource_TakesUpChanges(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.NewCA(t, "ca")
	tlstest.WriteFile(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	ca.Write(dir, "n1", tlstest.Leaf{Name: "first"})
	var log bytes.Buffer
	files := set(dir, "n1.crt", "n1.key", "ca.crt")
	s, err := Open(files, nil, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, name, logged string) {
		t.Helper()
		for range 3 {
			if got := s.Current().Cert.Leaf.Subject.CommonName; got != name {
				t.Errorf("%s: %s is in use, not %s", step, got, name)
			}
		}
		if got := log.String(); (logged == "") != (got == "") || !strings.Contains(got, logged) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: the log has %q, want one line with %q", step, got, logged)
		}
		log.Reset()
	}
	expect("nothing changed", "first", "")
	cert, key := ca.Issue(tlstest.Leaf{Name: "second"})
	tlstest.WriteFile(t, files.Cert.Name, cert)
	expect("the certificate without its key", "first", files.Key.Name+": is not the key of the certificate in")
	tlstest.WriteFile(t, files.Key.Name, key)
	expect("and the key", "second", "TLS files have changed and are in use")
	if err := os.Remove(files.CA.Name); err != nil {
		t.Fatal(err)
	}
	expect("a file is gone", "second", "no such file or directory")
	tlstest.WriteFile(t, files.CA.Name, nil)
	expect("an empty file", "second", "has no certificate in PEM")
	tlstest.WriteFile(t, files.CA.Name, ca.PEM)
	expect("as it was", "second", "")
	cert, key = ca.Issue(tlstest.Leaf{Name: "third", NotAfter: time.Now().Add(-time.Minute)})
	tlstest.WriteFile(t, files.Key.Name, key)
	tlstest.WriteFile(t, files.Cert.Name, cert)
	expect("one that has expired", "second", "has expired")
	// In place, with the same length and, on a coarse clock, the same time.
	cert, key = ca.Issue(tlstest.Leaf{Name: "fourth"})
	for name, content := range map[string][]byte{files.Cert.Name: cert, files.Key.Name: key} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("written in place", "fourth", "TLS files have changed and are in use")
}
