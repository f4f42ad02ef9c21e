package scenario

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
	"github.com/holdfast-io/holdfast/internal/tlstest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// RotateCertificates replaces the certificates of all nodes and clients by those of
// another authority, under traffic, and then removes the old authority. Nobody
// loses an attempt; every node is killed afterwards, so that each connection is
// made anew; and who still has an old certificate is refused (invariants 6 and 13).
func RotateCertificates(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "rotation", CheckpointMs: 100, Pause: traffic})
	f.WaitAcked(20)
	s, before := c.Security(), c.Security().CA
	old := filepath.Join(t.TempDir(), "old")
	after := tlstest.NewCA(t, "the next authority")
	s.Trust(before, after)
	before.Write(old, "client", harness.ClientLeaf())
	f.WaitAcked(20)
	s.CA = after
	var names []string
	for i := range c.Size() {
		names = append(names, c.Node(i).Name)
	}
	s.Issue(names...)
	restartEach(c, f)
	stale := s.Settings()
	stale.Files.Cert.Name, stale.Files.Key.Name = filepath.Join(old, "client.crt"), filepath.Join(old, "client.key")
	if err := describeWith(c, 0, stale); err != nil {
		t.Errorf("the old certificate is refused while its authority is known: %v", err)
	}
	s.Trust(after)
	restartEach(c, f)
	for i := range c.Size() {
		if err := describeWith(c, i, stale); err == nil || !strings.Contains(err.Error(), "it refuses the certificate of this side (tls: unknown certificate authority)") {
			t.Errorf("a client with the old certificate is told %v", err)
		}
	}
	f.WaitAcked(20)
	checkFlusher(t, f)
	c.VerifyReplicas()
}

// restartEach kills every node once, under traffic.
func restartEach(c *harness.Cluster, f *harness.Flusher) {
	for i := range c.Size() {
		c.Restart(i)
		c.WaitForAllToKnow()
		c.WaitCaughtUp(i)
		f.WaitAcked(20)
	}
}

// describeWith asks a node for its view with a client's settings.
func describeWith(c *harness.Cluster, i int, s grpctls.Settings) error {
	conn, err := harness.DialWith(c.Node(i).ListenAddress, s)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience())
	defer cancel()
	_, err = holdfastv1.NewClusterServiceClient(conn).Describe(ctx, &holdfastv1.ClusterServiceDescribeRequest{}, grpc.WaitForReady(false))
	return err
}

// StrangersAreRefused has clients that do not belong to the cluster, while one that
// does goes on; and nothing of a private key is in a log or a data directory.
func StrangersAreRefused(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "own", CheckpointMs: 100, Pause: traffic})
	f.WaitAcked(20)
	dir, s := t.TempDir(), c.Security()
	tlstest.NewCA(t, "another authority").Write(dir, "stranger", harness.ClientLeaf())
	settings := func(change func(*tlsfiles.Files)) grpctls.Settings {
		out := s.Settings()
		change(&out.Files)
		return out
	}
	for _, bad := range []struct {
		who, told string
		settings  grpctls.Settings
	}{
		{"without TLS", "this port needs TLS: see HOLDFAST_TLS_CA_FILE in docs/security.md", grpctls.Settings{}},
		{"without a certificate", "it refuses the certificate of this side (tls: certificate required)", settings(func(f *tlsfiles.Files) { f.Cert.Name, f.Key.Name = "", "" })},
		{"of another authority", "it refuses the certificate of this side (tls: unknown certificate authority)", settings(func(f *tlsfiles.Files) {
			f.Cert.Name, f.Key.Name = filepath.Join(dir, "stranger.crt"), filepath.Join(dir, "stranger.key")
		})},
		{"that trusts another authority", "is of an authority that is not known here", settings(func(f *tlsfiles.Files) { f.CA.Name = filepath.Join(dir, "stranger.crt") })},
	} {
		for i := range c.Size() {
			if err := describeWith(c, i, bad.settings); err == nil || !strings.Contains(err.Error(), bad.told) {
				t.Errorf("a client %s is told %v, want %s", bad.who, err, bad.told)
			}
		}
		f.WaitAcked(20)
	}
	checkFlusher(t, f)
	if n := f.Stats().Resumes; n != 0 {
		t.Errorf("the cluster's own client had to resume %d times", n)
	}
	c.KillAll()
	keysStayInTheirFiles(t, c)
	c.StartAll()
}

// keysStayInTheirFiles looks for the private keys in everything that the nodes
// have written.
func keysStayInTheirFiles(t *testing.T, c *harness.Cluster) {
	t.Helper()
	var secrets []string
	for i := range c.Size() {
		raw, err := os.ReadFile(c.Security().File(c.Node(i).Name + ".key"))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.Split(string(raw), "\n")[1])
	}
	err := filepath.WalkDir(c.Dir(), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, c.Security().Dir()) {
			return err
		}
		raw, err := os.ReadFile(name)
		for _, s := range secrets {
			if strings.Contains(string(raw), s) {
				t.Errorf("%s has a private key in it", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
