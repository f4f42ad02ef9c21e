package daemon

import (
	"fmt"
	"path/filepath"

	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/backend/filesystem"
	"github.com/holdfast-io/holdfast/stateserver/backend/rocksdb"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
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

// storages makes the registry of checkpoint storage.
func (c Config) storages() (*storage.Registry, error) {
	roots, err := storage.ParseRoots(c.AllowedRoots)
	if err != nil {
		return nil, fmt.Errorf("storage.allowed-roots: %w", err)
	}
	return storage.NewRegistry(roots, map[string]storage.Scheme{"file": file.Scheme{NoFsync: c.Raft.NoFsync}}), nil
}
