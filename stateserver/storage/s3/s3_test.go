package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

func TestEndpoint_Table(t *testing.T) {
	for _, c := range []struct {
		in, host string
		secure   bool
		wrong    bool
	}{
		{"", "s3.amazonaws.com", true, false},
		{"minio:9000", "minio:9000", true, false},
		{"http://127.0.0.1:9000", "127.0.0.1:9000", false, false},
		{"https://s3.example.com/", "s3.example.com", true, false},
		{"ftp://x", "", false, true},
		{"http://x/bucket", "", false, true},
		{"http://user:pw@x", "", false, true},
		{"http://", "", false, true},
	} {
		host, secure, err := endpoint(c.in)
		if host != c.host || secure != c.secure || (err != nil) != c.wrong {
			t.Errorf("endpoint %q is %q, %v, %v", c.in, host, secure, err)
		}
	}
}

func TestCredentials_FromTheEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "from-env")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	for _, c := range []struct {
		cfg  Config
		want string
	}{{Config{}, "from-env secret token"}, {Config{AccessKey: "a", SecretKey: "s"}, "a s "}} {
		v, err := c.cfg.credentials().GetWithContext(nil)
		if got := v.AccessKeyID + " " + v.SecretAccessKey + " " + v.SessionToken; err != nil || got != c.want {
			t.Errorf("credentials %q, %v; want %q", got, err, c.want)
		}
	}
	t.Setenv("AWS_REGION", "eu-north-1")
	if r := (Config{}).region(); r != "eu-north-1" {
		t.Errorf("region %q", r)
	}
}

func TestErrors_Kinds(t *testing.T) {
	b := &bucket{url: "s3://b/p", name: "b"}
	for _, c := range []struct {
		err       error
		kind      error
		permanent bool
		text      string
	}{
		{minio.ErrorResponse{Code: "NoSuchKey", Message: "none"}, storage.ErrNotFound, true, "read s3://b/p/f: none (NoSuchKey)"},
		{minio.ErrorResponse{Code: "NoSuchBucket"}, storage.ErrNotFound, true, "make the bucket b, or name another one"},
		{minio.ErrorResponse{Code: "AccessDenied"}, storage.ErrAccessDenied, true, "let the key of the nodes read, write, list and delete below s3://b/p"},
		{minio.ErrorResponse{Code: "SignatureDoesNotMatch"}, storage.ErrAccessDenied, true, "look at AWS_ACCESS_KEY_ID"},
		{minio.ErrorResponse{Code: "XMinioStorageFull"}, storage.ErrNoSpace, true, "free space there"},
		{minio.ErrorResponse{Code: "Odd", StatusCode: 403}, storage.ErrAccessDenied, true, ""},
		{minio.ErrorResponse{Code: "Odd", StatusCode: 507}, storage.ErrNoSpace, true, ""},
		{minio.ErrorResponse{Code: "SlowDown", StatusCode: 503}, storage.ErrUnavailable, false, ""},
		{minio.ErrorResponse{Code: "InternalError", StatusCode: 500}, storage.ErrUnavailable, false, ""},
		{fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")}), nil, false, "connection refused"},
		{context.Canceled, context.Canceled, true, ""},
	} {
		err := b.wrap("read", "f", c.err)
		if c.kind != nil && !errors.Is(err, c.kind) || storage.Permanent(err) != c.permanent || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v became %v, permanent %v", c.err, err, storage.Permanent(err))
		}
	}
}
