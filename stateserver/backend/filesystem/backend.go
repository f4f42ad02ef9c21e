package filesystem

import (
	"context"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Name and OldName are what a job calls the backend.
const (
	Name    = "filesystem"
	OldName = "hashmap"
)

// Register adds the backend to a registry under both names.
func Register(r *backend.Registry) error {
	if err := r.Register(Name, New); err != nil {
		return err
	}
	return r.Alias(OldName, Name)
}

// heap makes States on the heap. It has nothing of its own.
type heap struct{}

// New is the [backend.Factory].
func New(backend.Env) (backend.Backend, error) { return heap{}, nil }

// Open implements [backend.Backend].
func (heap) Open(_ context.Context, spec backend.Spec) (backend.State, error) {
	cfg, err := spec.Space.Normalize()
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", spec.Name, err)
	}
	return newState(cfg), nil
}

// ReadSnapshot implements [backend.Backend].
func (heap) ReadSnapshot(ctx context.Context, spec backend.Spec, files backend.Files, handles []*holdfastv1.StateHandle) (backend.Entries, error) {
	cfg, err := spec.Space.Normalize()
	if err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	return openMerge(ctx, &cfg, files, handles)
}

// Close implements [backend.Backend].
func (heap) Close() error { return nil }
