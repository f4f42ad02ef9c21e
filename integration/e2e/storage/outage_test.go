package storage_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/hdfs"
	"github.com/holdfast-io/holdfast/stateserver/storage/s3"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

// server is one that the test starts and kills by its script.
type server struct {
	t      *testing.T
	script string
	dir    string
}

func newServer(t *testing.T, script string) *server {
	t.Helper()
	s := &server{t: t, script: filepath.Join("..", "..", script), dir: filepath.Join(t.TempDir(), "server")}
	t.Cleanup(s.kill)
	return s
}

// up starts it; port 0 takes a free one. It prints its address.
func (s *server) up(port string) string {
	s.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(s.script, "up", "--dir", s.dir, "--port", port)
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s up: %v\n%s", s.script, err, log.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// kill is SIGKILL.
func (s *server) kill() {
	if out, err := exec.Command(s.script, "down", "--dir", s.dir, "--hard").CombinedOutput(); err != nil {
		s.t.Errorf("%s down: %v\n%s", s.script, err, out)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStorage_S3Outage(t *testing.T) {
	harness.RequireEnv(t, harness.EnvS3)
	srv := newServer(t, "s3/s3.sh")
	url := srv.up("0")
	scheme, err := s3.NewScheme(s3.Config{Endpoint: url, PathStyle: true, Region: "us-east-1", AccessKey: "test", SecretKey: "secretsecret"})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, map[string]storage.Scheme{"s3": scheme}, "s3://ckpt/outage")
	defer s.Close()
	outage(t, srv, url, s)
	readThroughOutage(t, srv, url, s)
}

func TestStorage_HDFSOutage(t *testing.T) {
	harness.RequireEnv(t, harness.EnvHDFS)
	srv := newServer(t, "hdfs/hdfs.sh")
	address := srv.up("0")
	s := open(t, map[string]storage.Scheme{"hdfs": hdfs.Scheme{}}, "hdfs://"+address+"/outage")
	defer s.Close()
	outage(t, srv, address, s)
}

func patient() storage.RetryPolicy {
	return storage.RetryPolicy{Initial: 50 * time.Millisecond, Max: time.Second, Elapsed: harness.Patience()}
}

// outage kills the server in the middle of a file. What was committed is there
// afterwards; the file that was under way is written again as a whole and leaves
// nothing behind; reading goes on.
func outage(t *testing.T, srv *server, address string, s storage.Storage) {
	before := storagetest.Write(t, s, "shared/before", storagetest.Contents(1, 12<<20))
	contents := storagetest.Contents(2, 40<<20)

	tries := 0
	h, err := storage.Put(t.Context(), s, "shared/during", patient(), func(w io.Writer) error {
		tries++
		half := len(contents) / 2
		if _, err := w.Write(contents[:half]); err != nil {
			return err
		}
		if tries == 1 {
			srv.kill()
			// Without retries it is a clear error, of the kind that may heal.
			err := storage.Probe(t.Context(), s)
			if err == nil || storage.Permanent(err) || !strings.Contains(err.Error(), s.URL()) {
				t.Errorf("probe without a server: %v", err)
			}
			defer srv.up(port(t, address))
		}
		_, err := w.Write(contents[half:])
		if tries == 1 && err == nil {
			err = errors.New("this try was cut short") // the bytes may still be in a buffer
		}
		return err
	})
	if err != nil {
		t.Fatalf("put through an outage: %v", err)
	}
	if tries < 2 {
		t.Errorf("%d tries: the outage hit nothing", tries)
	}
	retrying := storage.WithRetry(s, patient())
	for _, f := range []struct {
		h    storage.FileHandle
		want []byte
	}{{before, storagetest.Contents(1, 12<<20)}, {h, contents}} {
		got, err := storage.ReadAll(t.Context(), retrying, storage.Handle{File: &f.h})
		if err != nil || !bytes.Equal(got, f.want) {
			t.Errorf("read %s after the outage: %d of %d bytes, %v", f.h.Path, len(got), len(f.want), err)
		}
	}
	all, err := storage.ListAll(t.Context(), retrying, "")
	if err != nil || len(all) != 2 {
		t.Errorf("after the outage there are %v, %v; want the two files", all, err)
	}
	if _, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); err != nil {
		t.Errorf("delete unfinished: %v", err)
	}
	if n, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("%d unfinished files are left, %v", n, err)
	}
}

// readThroughOutage kills the server while a file is read.
func readThroughOutage(t *testing.T, srv *server, address string, s storage.Storage) {
	contents := storagetest.Contents(3, 12<<20)
	h := storagetest.Write(t, s, "shared/read", contents)
	r, err := storage.Open(t.Context(), storage.WithRetry(s, patient()), storage.Handle{File: &h})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := make([]byte, 1000)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	srv.kill()
	srv.up(port(t, address))
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(first, rest...), contents) {
		t.Errorf("read through an outage: %d of %d bytes, %v", len(first)+len(rest), h.Size, err)
	}
}
