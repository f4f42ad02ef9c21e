package backends_test

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestBackends_CheckpointDiskFull(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	disk := harness.SmallDisk(t, 16)
	if err := os.MkdirAll(disk.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := "file://" + disk.Dir()
	c := harness.Processes(t, harness.Options{Roots: []string{dir}})
	for _, backend := range []string{"filesystem", "rocksdb"} {
		t.Run(backend, func(t *testing.T) {
			scenario.StorageOutage(t, c.For(t), backend, scenario.Outage{
				Directory: dir, Begin: disk.Fill, End: disk.MakeRoom, Says: "no space left on device; free space there, or name another directory",
			})
		})
	}
	c.VerifyReplicas()
}

// server is one that the test starts and kills by its script.
type server struct {
	t           *testing.T
	script, dir string
}

func newServer(t *testing.T, script string) server {
	t.Helper()
	s := server{t, script, filepath.Join(t.TempDir(), "server")}
	t.Cleanup(func() { s.run("down", "--hard") })
	return s
}

func (s server) run(args ...string) string {
	s.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(s.script, append(args, "--dir", s.dir)...)
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", s.script, args, err, log.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// signal sends a signal to the server.
func (s server) signal(sig syscall.Signal) {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatalf("signal %s to %s: %v", sig, s.script, err)
	}
}

func TestBackends_S3Outage(t *testing.T) {
	harness.RequireEnv(t, harness.EnvS3, harness.EnvBin)
	s3 := newServer(t, "../../s3/s3.sh")
	endpoint := s3.run("up")
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Processes(t, harness.Options{
		Roots: []string{"s3://ckpt"},
		Flags: []string{"--s3-endpoint", endpoint, "--s3-path-style-access=true", "--s3-region", "us-east-1"},
	})
	scenario.StorageOutage(t, c, "rocksdb", scenario.Outage{
		Directory: "s3://ckpt/outage", Begin: func() { s3.run("down", "--hard") }, End: func() { s3.run("up", "--port", u.Port()) },
		Says: "s3://ckpt/outage",
	})
	c.VerifyReplicas()
}

// TestBackends_HDFSOutage kills HDFS and starts it again, and stops it with SIGSTOP:
// then nothing answers and nothing is refused either.
func TestBackends_HDFSOutage(t *testing.T) {
	harness.RequireEnv(t, harness.EnvHDFS, harness.EnvBin)
	hdfs := newServer(t, "../../hdfs/hdfs.sh")
	address := hdfs.run("up")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Processes(t, harness.Options{Roots: []string{"hdfs://" + address}})
	dir := "hdfs://" + address + "/outage"
	t.Run("killed", func(t *testing.T) {
		scenario.StorageOutage(t, c.For(t), "filesystem", scenario.Outage{
			Directory: dir, Begin: func() { hdfs.run("down", "--hard") }, End: func() { hdfs.run("up", "--port", port) }, Says: dir,
		})
	})
	t.Run("stopped", func(t *testing.T) {
		scenario.StorageOutage(t, c.For(t), "rocksdb", scenario.Outage{
			Directory: dir, Begin: func() { hdfs.signal(syscall.SIGSTOP) }, End: func() { hdfs.signal(syscall.SIGCONT) },
			Reason: holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT, TimeoutMs: 5000,
		})
	})
	c.VerifyReplicas()
}
