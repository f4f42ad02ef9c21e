package schemes_test

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/schemes"
)

func TestSchemes_New(t *testing.T) {
	dir := t.TempDir()
	r, err := schemes.New(schemes.Config{AllowedRoots: []string{"file://" + dir, "s3://bucket", "hdfs://nn:8020/ckpt"}, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), "file://"+dir+"/job")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := storage.Probe(t.Context(), s); err != nil {
		t.Error(err)
	}
	if _, err := r.Open(t.Context(), "gs://bucket"); err == nil || !strings.Contains(err.Error(), `the schemes are file, hdfs, s3`) {
		t.Errorf("an unknown scheme: %v", err)
	}
}

func TestSchemes_WrongSettings(t *testing.T) {
	for _, c := range []struct {
		cfg  schemes.Config
		text string
	}{
		{schemes.Config{AllowedRoots: []string{"/mnt/ckpt"}}, `storage.allowed-roots: allowed root: invalid name: directory "/mnt/ckpt" has no scheme; a shared mount is written file:///mnt/ckpt`},
		{schemes.Config{AllowedRoots: []string{"gs://bucket"}}, `storage.allowed-roots: unknown scheme: directory gs://bucket has the scheme "gs"; the schemes are file, hdfs, s3`},
		{schemes.Config{S3: config.S3{Endpoint: "ftp://x"}}, `s3.endpoint "ftp://x" is neither host:port nor http(s)://host:port`},
		{schemes.Config{S3: config.S3{Endpoint: "http://x/path"}}, `s3.endpoint "http://x/path" is neither`},
		{schemes.Config{S3: config.S3{AccessKey: "a"}}, "s3.access-key and s3.secret-key are set together or not at all"},
	} {
		if _, err := schemes.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("error %v\nwant %s", err, c.text)
		}
	}
}
