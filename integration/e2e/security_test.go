package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestProcess_TLSRotation(t *testing.T) {
	scenario.RotateCertificates(t, cluster(t, harness.Options{TLS: true}))
}

// TestSecurityPage_CommandsWork runs the commands of docs/security.md that make
// certificates, and starts a cluster with them by the command line.
func TestSecurityPage_CommandsWork(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	page, err := os.ReadFile(filepath.Join(harness.ModuleRoot(t), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?s)```bash\n(.*?)```").FindSubmatch(page)
	if commands == nil {
		t.Fatal("the page has no commands")
	}
	top := t.TempDir()
	cmd := exec.Command("bash", "-euc", string(commands[1]))
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := startLocalTLS(t, filepath.Join(top, "certs"))
	for _, c := range []struct {
		flags []string
		code  int
		told  string
	}{
		{[]string{"--tls-ca-file", filepath.Join(top, "certs", "ca.crt"), "--tls-cert-file", filepath.Join(top, "certs", "client.crt"), "--tls-key-file", filepath.Join(top, "certs", "client.key")}, 0, ""},
		{[]string{"--tls-ca-file", filepath.Join(top, "certs", "ca.crt")}, 5, "it refuses the certificate of this side (tls: certificate required); it demands one: --tls-cert-file"},
		{nil, 5, "has TLS: name the authorities of the nodes with --tls-ca-file or HOLDFAST_TLS_CA_FILE"},
		{[]string{"--tls-cert-file", filepath.Join(top, "certs", "client.crt")}, 2, "--tls-key-file: it is not set, and --tls-cert-file is"},
	} {
		_, errs, code := l.run(append([]string{"list"}, c.flags...)...)
		if code != c.code || !strings.Contains(errs, c.told) {
			t.Errorf("holdfast list %v: exit code %d, %s; want %d, %s", c.flags, code, errs, c.code, c.told)
		}
	}
}
