// Package s3 keeps checkpoints in a bucket of S3 or of a server that speaks its
// protocol.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Config says where the server is. The zero value is Amazon's, with credentials
// from the environment.
type Config struct {
	// Endpoint is host:port or a URL; http:// is plain, everything else TLS.
	Endpoint string
	// PathStyle puts the bucket into the path and not into the host name.
	PathStyle bool
	// Region, else AWS_REGION or AWS_DEFAULT_REGION, else the bucket is asked.
	Region string
	// AccessKey and SecretKey, else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else
	// ~/.aws/credentials, else the role of the machine.
	AccessKey, SecretKey string
}

const (
	defaultEndpoint = "s3.amazonaws.com"

	// tries is how often one request is sent; beyond that the whole file is tried
	// again by those who can.
	tries = 5

	// credentialsTimeout bounds asking a metadata service that may not exist.
	credentialsTimeout = 5 * time.Second
)

// NewScheme makes s3://. The connections are shared by all storages.
func NewScheme(c Config) (*Scheme, error) {
	host, secure, err := endpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return nil, errors.New("s3.access-key and s3.secret-key are set together or not at all")
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("transport to %s: %w", host, err)
	}
	lookup := minio.BucketLookupAuto
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	core, err := minio.NewCore(host, &minio.Options{
		Creds: c.credentials(), Secure: secure, Transport: transport, Region: c.region(), BucketLookup: lookup, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3.endpoint %q: %w", c.Endpoint, err)
	}
	return &Scheme{core: core}, nil
}

// endpoint splits an endpoint into host:port and whether it has TLS.
func endpoint(s string) (host string, secure bool, err error) {
	if s == "" {
		return defaultEndpoint, true, nil
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "", false, fmt.Errorf("s3.endpoint %q is neither host:port nor http(s)://host:port", s)
	}
	return u.Host, u.Scheme == "https", nil
}

func (c Config) region() string {
	for _, r := range []string{c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if r != "" {
			return r
		}
	}
	return ""
}

func (c Config) credentials() *credentials.Credentials {
	if c.AccessKey != "" {
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, "")
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: credentialsTimeout}},
	})
}

// Scheme is s3://. It may be used concurrently.
type Scheme struct{ core *minio.Core }

// Open gives the storage of bucket and prefix. It asks nothing of the server: a
// bucket that is not there is told by the first use.
func (s *Scheme) Open(_ context.Context, _, dir storage.Location) (storage.Storage, error) {
	if dir.Authority == "" {
		return nil, fmt.Errorf("%w: directory %s names no bucket; it is written like s3://bucket/path", storage.ErrInvalidName, dir)
	}
	return &bucket{core: s.core, url: dir.String(), name: dir.Authority, prefix: strings.TrimPrefix(dir.Path, "/")}, nil
}

// bucket is a prefix of a bucket.
type bucket struct {
	core   *minio.Core
	url    string
	name   string
	prefix string // no slash at its ends
}

func (b *bucket) URL() string { return b.url }

func (b *bucket) Close() error { return nil }

// key is the object of a name, or the prefix of a directory's objects without its
// slash.
func (b *bucket) key(name string) string {
	switch {
	case b.prefix == "":
		return name
	case name == "":
		return b.prefix
	default:
		return b.prefix + "/" + name
	}
}

// below is the prefix of all objects below dir.
func (b *bucket) below(dir string) string {
	if k := b.key(dir); k != "" {
		return k + "/"
	}
	return ""
}

// name is the name of an object.
func (b *bucket) nameOf(key string) string { return strings.TrimPrefix(key, b.below("")) }

func (b *bucket) checkFile(op, name string) error {
	if err := storage.CheckName(name); err != nil {
		return &storage.Error{Op: op, URL: b.url, Kind: storage.ErrInvalidName, Err: err}
	}
	return nil
}

func (b *bucket) checkDir(op, dir string) error {
	if dir == "" {
		return nil
	}
	return b.checkFile(op, dir)
}
