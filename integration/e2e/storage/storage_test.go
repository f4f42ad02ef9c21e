package storage_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/hdfs"
	"github.com/holdfast-io/holdfast/stateserver/storage/s3"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

// open gives the storage of a URL that nothing restricts.
func open(t *testing.T, schemes map[string]storage.Scheme, url string) storage.Storage {
	t.Helper()
	s, err := storage.NewRegistry(storage.AnyRoot(), schemes).Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh is a directory of the test's own below base; it is deleted at the end.
func fresh(t *testing.T, schemes map[string]storage.Scheme, base string) storage.Storage {
	t.Helper()
	s := open(t, schemes, base+"/"+"suite-"+rand.Text())
	t.Cleanup(func() {
		again := open(t, schemes, s.URL())
		defer again.Close()
		// The test's own context is over.
		if err := again.DeleteAll(context.Background(), ""); err != nil {
			t.Errorf("clean up %s: %v", s.URL(), err)
		}
	})
	return s
}

func suite(t *testing.T, schemes map[string]storage.Scheme, base string) {
	storagetest.Run(t, storagetest.Config{
		Open:   func(t *testing.T) storage.Storage { return fresh(t, schemes, base) },
		Reopen: func(t *testing.T, s storage.Storage) storage.Storage { return open(t, schemes, s.URL()) },
	})
}

// s3Schemes have credentials from the environment, as nodes do.
func s3Schemes(t *testing.T, endpoint string) map[string]storage.Scheme {
	t.Helper()
	scheme, err := s3.NewScheme(s3.Config{Endpoint: endpoint, PathStyle: true, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]storage.Scheme{"s3": scheme}
}

func TestStorage_S3(t *testing.T) {
	suite(t, s3Schemes(t, harness.RequireEnv(t, harness.EnvS3)[0]), "s3://ckpt/suite")
}

func TestStorage_HDFS(t *testing.T) {
	address := harness.RequireEnv(t, harness.EnvHDFS)[0]
	suite(t, map[string]storage.Scheme{"hdfs": hdfs.Scheme{}}, "hdfs://"+address)
}

// wantError checks kind and text of what Probe says.
func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v\nwant kind %q and %q", err, kind, text)
	}
}

func TestStorage_S3Refuses(t *testing.T) {
	endpoint := harness.RequireEnv(t, harness.EnvS3)[0]
	wrong, err := s3.NewScheme(s3.Config{Endpoint: endpoint, PathStyle: true, Region: "us-east-1", AccessKey: "test", SecretKey: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := s3.NewScheme(s3.Config{Endpoint: endpoint, PathStyle: true, Region: "us-east-1", AccessKey: "nobody", SecretKey: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	const look = "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the nodes, or at s3.access-key and s3.secret-key"
	for _, c := range []struct {
		name    string
		schemes map[string]storage.Scheme
		url     string
		kind    error
		text    string
	}{
		{"no such bucket", s3Schemes(t, endpoint), "s3://no-such-bucket/x", storage.ErrNotFound, "make the bucket no-such-bucket, or name another one"},
		{"wrong secret", map[string]storage.Scheme{"s3": wrong}, "s3://ckpt/x", storage.ErrAccessDenied, look},
		{"unknown key", map[string]storage.Scheme{"s3": unknown}, "s3://ckpt/x", storage.ErrAccessDenied, look},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.schemes, c.url)
			defer s.Close()
			err := storage.Probe(t.Context(), s)
			wantError(t, err, c.kind, c.text)
			if !storage.Permanent(err) {
				t.Error("it is tried again")
			}
			_, err = storage.ListAll(t.Context(), s, "")
			wantError(t, err, c.kind, c.text)
		})
	}
	_, err = storage.NewRegistry(storage.AnyRoot(), s3Schemes(t, endpoint)).Open(t.Context(), "s3:///x")
	wantError(t, err, storage.ErrInvalidName, "names no bucket; it is written like s3://bucket/path")
}

func TestStorage_HDFSRefuses(t *testing.T) {
	address := harness.RequireEnv(t, harness.EnvHDFS)[0]
	admin := map[string]storage.Scheme{"hdfs": hdfs.Scheme{}}
	s := fresh(t, admin, "hdfs://"+address)
	defer s.Close()
	storagetest.Write(t, s, "d/f", nil)

	nobody := map[string]storage.Scheme{"hdfs": hdfs.Scheme{User: "nobody"}}
	denied := open(t, nobody, "hdfs://"+address)
	defer denied.Close()
	err := storage.Probe(t.Context(), denied)
	wantError(t, err, storage.ErrAccessDenied, "give the user that holdfastd runs as (or HADOOP_USER_NAME) the right to write there")

	_, err = storage.NewRegistry(storage.AnyRoot(), admin).Open(t.Context(), s.URL()+"/d/f")
	wantError(t, err, storage.ErrInvalidName, "it is a file; a directory is needed")

	roots, err := storage.ParseRoots([]string{"hdfs://" + address + "/no/such/directory"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = storage.NewRegistry(roots, admin).Open(t.Context(), "hdfs://"+address+"/no/such/directory/x")
	wantError(t, err, storage.ErrNotFound, "a root that is not there is never made")

	_, err = storage.NewRegistry(storage.AnyRoot(), admin).Open(t.Context(), "hdfs:///x")
	wantError(t, err, storage.ErrInvalidName, "names no host; it is written like hdfs://host:port/path")

	_, err = storage.NewRegistry(storage.AnyRoot(), admin).Open(t.Context(), "hdfs://127.0.0.1:1/x")
	wantError(t, err, storage.ErrUnavailable, "look whether the name node runs and the address is right")
	if storage.Permanent(err) {
		t.Error("a name node that is down is not tried again")
	}
}
