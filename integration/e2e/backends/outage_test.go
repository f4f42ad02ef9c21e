package backends_test

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
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

func TestBackends_S3Outage(t *testing.T) {
	harness.RequireEnv(t, harness.EnvS3, harness.EnvBin)
	data := t.TempDir() + "/s3"
	s3 := func(args ...string) string {
		t.Helper()
		var log bytes.Buffer
		cmd := exec.Command("../../s3/s3.sh", append(args, "--dir", data)...)
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("s3.sh %v: %v\n%s", args, err, log.Bytes())
		}
		return strings.TrimSpace(string(out))
	}
	endpoint := s3("up")
	t.Cleanup(func() { s3("down", "--hard") })
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := harness.Processes(t, harness.Options{
		Roots: []string{"s3://ckpt"},
		Flags: []string{"--s3-endpoint", endpoint, "--s3-path-style-access=true", "--s3-region", "us-east-1"},
	})
	scenario.StorageOutage(t, c, "rocksdb", scenario.Outage{
		Directory: "s3://ckpt/outage", Begin: func() { s3("down", "--hard") }, End: func() { s3("up", "--port", u.Port()) },
		Says: "s3://ckpt/outage",
	})
	c.VerifyReplicas()
}
