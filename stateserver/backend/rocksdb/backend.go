package rocksdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Name is what a job names as state.backend.
const Name = "rocksdb"

// DefaultCacheBytes is the memory for all states of a node where Env.CacheBytes
// sets none.
const DefaultCacheBytes = 64 << 20

// TransferThreadsOption is how many files of one checkpoint are written or read
// at a time. Flink's name.
const TransferThreadsOption = "state.backend.rocksdb.checkpoint.transfer.thread.num"

// defaultTransferThreads is Flink's default for TransferThreadsOption.
const defaultTransferThreads = 4

// maxOpenFiles bounds the tables that all states of a node have open.
const maxOpenFiles = 1 << 10

// Backend is the rocksdb backend of one node.
type Backend struct {
	dir       string
	memory    int64
	transfers int
	log       *slog.Logger

	cache *pebble.Cache
	files *pebble.FileCache
	local *localFiles

	mu     sync.Mutex
	open   int    // states
	dirs   uint64 // made so far
	closed bool
}

// New is the factory: it makes the backend of a node.
func New(env backend.Env) (backend.Backend, error) {
	b := &Backend{dir: env.Dir, memory: env.CacheBytes, transfers: defaultTransferThreads, log: env.Logger}
	if b.memory <= 0 {
		b.memory = DefaultCacheBytes
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if env.Option != nil {
		if v := env.Option(TransferThreadsOption); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%s is %q: want a number of at least 1", TransferThreadsOption, v)
			}
			b.transfers = n
		}
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the rocksdb backend: %w", err)
	}
	b.cache = pebble.NewCache(b.memory)
	b.files = pebble.NewFileCache(1, maxOpenFiles)
	b.local = newLocalFiles(filepath.Join(b.dir, keptDir), keepFor)
	return b, nil
}

// Open implements backend.Backend.
func (b *Backend) Open(_ context.Context, spec backend.Spec) (backend.State, error) {
	cfg, err := spec.Space.Normalize()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("open state %s: the backend is closed", spec.Name)
	}
	s := &State{b: b, cfg: cfg, name: spec.Name, dir: b.newDir(spec.Name)}
	s.log = b.log.With("state", spec.Name)
	b.open++
	s.memTable = b.memTableSize()
	if err := s.create(); err != nil {
		b.open--
		return nil, err
	}
	return s, nil
}

// Smallest and largest memtable of a state.
const (
	minMemTable = 256 << 10
	maxMemTable = 64 << 20
)

// memTableSize divides a quarter of the memory among the states: each has two
// memtables most of the time, so the state that is opened as the n-th gets a
// memtable of an n-th of an eighth. Pebble takes memtables out of the cache, so
// the sum stays within the memory.
func (b *Backend) memTableSize() uint64 {
	size := uint64(maxMemTable)
	for size > minMemTable && size > uint64(b.memory)/8/uint64(b.open) {
		size /= 2
	}
	return size
}

// newDir returns a directory that nobody has. b.mu is held.
func (b *Backend) newDir(name string) string {
	b.dirs++
	return filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.dirs))
}

// closedState is called by a state that is gone.
func (b *Backend) closedState() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
}

// Close implements backend.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.local.close()
	b.cache.Unref()
	b.files.Unref()
	entries, err := os.ReadDir(b.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.dir, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("empty the directory of the rocksdb backend: %w", err)
	}
	return nil
}
