// Package schemes makes the registry of checkpoint storage that a node or a command
// has, with every scheme of this build.
package schemes

import (
	"fmt"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/hdfs"
	"github.com/holdfast-io/holdfast/stateserver/storage/s3"
)

// Config is what the schemes can be told.
type Config struct {
	// AllowedRoots are URLs of the directories below which others may be named.
	AllowedRoots []string
	S3           config.S3
	// NoFsync is for tests and benchmarks.
	NoFsync bool
}

// New makes the registry of a node. A root or an endpoint that is none is an error
// that names the key. It connects to nothing.
func New(c Config) (*storage.Registry, error) {
	all, err := c.schemes()
	if err != nil {
		return nil, err
	}
	roots, err := storage.ParseRoots(c.AllowedRoots)
	if err != nil {
		return nil, fmt.Errorf("storage.allowed-roots: %w", err)
	}
	r := storage.NewRegistry(roots, all)
	for _, root := range c.AllowedRoots {
		if _, _, err := r.Check(root); err != nil {
			return nil, fmt.Errorf("storage.allowed-roots: %w", err)
		}
	}
	return r, nil
}

func (c Config) schemes() (map[string]storage.Scheme, error) {
	bucket, err := s3.NewScheme(s3.Config{
		Endpoint: c.S3.Endpoint, PathStyle: c.S3.PathStyle, Region: c.S3.Region, AccessKey: c.S3.AccessKey, SecretKey: c.S3.SecretKey,
	})
	if err != nil {
		return nil, err
	}
	return map[string]storage.Scheme{"file": file.Scheme{NoFsync: c.NoFsync}, "s3": bucket, "hdfs": hdfs.Scheme{}}, nil
}
