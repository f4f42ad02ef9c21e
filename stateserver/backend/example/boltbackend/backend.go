package boltbackend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"go.etcd.io/bbolt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Name is what a job names as state.backend.
const Name = "bolt"

// Register adds the backend to a daemon.
func Register(r *backend.Registry) error { return r.Register(Name, New) }

// Backend makes the states of a node.
type Backend struct {
	dir   string
	files atomic.Uint64 // made so far
}

// New is the factory.
func New(env backend.Env) (backend.Backend, error) {
	if err := os.MkdirAll(env.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the bolt backend: %w", err)
	}
	return &Backend{dir: env.Dir}, nil
}

// mapBytes is the address space that a file is mapped into, and so the largest
// state. It is reserved at once: bbolt would make a writer that needs more of it
// wait for readers, and a snapshot is one.
const mapBytes = 16 << 30

// Open implements backend.Backend.
func (b *Backend) Open(_ context.Context, spec backend.Spec) (backend.State, error) {
	cfg, err := spec.Space.Normalize()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%s-%d.db", spec.Name, b.files.Add(1)))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		NoSync: true, NoFreelistSync: true, // a checkpoint is what survives
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", spec.Name, err)
	}
	s := &State{db: db, path: path, cfg: cfg, totals: make([]total, len(cfg.States))}
	if err := db.Update(s.reset); err != nil {
		return nil, fmt.Errorf("open state %s: %w", spec.Name, err)
	}
	return s, nil
}

// ReadSnapshot implements backend.Backend. A snapshot is its entries in their order,
// so it is read as it comes.
func (b *Backend) ReadSnapshot(ctx context.Context, _ backend.Spec, files backend.Files, handles []*holdfastv1.StateHandle) (backend.Entries, error) {
	return openEntries(ctx, files, handles)
}

// Close implements backend.Backend. Each state has removed its file.
func (b *Backend) Close() error { return nil }
