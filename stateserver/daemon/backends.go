package daemon

import (
	"path/filepath"

	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/backend/filesystem"
	"github.com/holdfast-io/holdfast/stateserver/backend/rocksdb"
)

// DefaultBackends returns a registry with the state backends of the project. A
// daemon with more adds them to it.
func DefaultBackends() (*backend.Registry, error) {
	r := backend.NewRegistry()
	if err := filesystem.Register(r); err != nil {
		return nil, err
	}
	if err := r.Register(rocksdb.Name, rocksdb.New); err != nil {
		return nil, err
	}
	return r, nil
}

// stateDir is where the backends have their directories.
func (c Config) stateDir() string {
	if c.StateDir != "" {
		return c.StateDir
	}
	return filepath.Join(c.DataDir, "state")
}
