package daemon

import (
	"path/filepath"
	"strconv"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/internal/flinkunits"
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

// stateOptions gives the backends what the configuration has for them.
func stateOptions(c config.State) func(key string) string {
	return func(key string) string {
		if key == rocksdb.TransferThreadsOption {
			return strconv.FormatUint(uint64(c.TransferThreads), 10)
		}
		return ""
	}
}

// stateSettings is what the backends were given.
func (c Config) stateSettings() config.State {
	s := config.State{Directory: c.StateDir, CacheSize: flinkunits.Size(c.StateCacheBytes)}
	if c.StateOption != nil {
		n, _ := strconv.ParseUint(c.StateOption(rocksdb.TransferThreadsOption), 10, 32)
		s.TransferThreads = uint32(n) // 0, which is refused, for what is no number
	}
	return s
}

// stateDir is where the backends have their directories. In a directory of the user
// it is one with a name that nobody else has: it is removed when the node starts.
func (c Config) stateDir() string {
	if c.StateDir != "" {
		return filepath.Join(c.StateDir, "holdfast-state")
	}
	return filepath.Join(c.DataDir, "state")
}
