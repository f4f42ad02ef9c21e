package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Scheme makes storages of one scheme.
type Scheme interface {
	// Open gives the storage of a directory that is root or lies below it. It
	// refuses (ErrRefused) what leads out of root in a way that names do not show,
	// and what the scheme cannot mean (ErrInvalidName). The directory need not
	// exist; the root must.
	Open(ctx context.Context, root, dir Location) (Storage, error)
}

// Registry has the schemes and roots of a node. It may be used concurrently.
type Registry struct {
	roots   Roots
	schemes map[string]Scheme
}

// NewRegistry makes a registry of schemes by name.
func NewRegistry(roots Roots, schemes map[string]Scheme) *Registry {
	return &Registry{roots: roots, schemes: maps.Clone(schemes)}
}

// Open gives the storage of a directory, if it lies below an allowed root:
// ErrInvalidName, ErrUnknownScheme, ErrRefused, and what the scheme says. The
// caller closes it.
func (r *Registry) Open(ctx context.Context, url string) (Storage, error) {
	root, dir, err := r.Check(url)
	if err != nil {
		return nil, err
	}
	return r.schemes[dir.Scheme].Open(ctx, root, dir)
}

// Check is what Open refuses without asking the storage: the form of the URL, its
// scheme, the roots.
func (r *Registry) Check(url string) (root, dir Location, err error) {
	dir, err = ParseLocation(url)
	if err != nil {
		return root, dir, err
	}
	if _, ok := r.schemes[dir.Scheme]; !ok {
		return root, dir, fmt.Errorf("%w: directory %s has the scheme %q; the schemes are %s",
			ErrUnknownScheme, dir, dir.Scheme, strings.Join(slices.Sorted(maps.Keys(r.schemes)), ", "))
	}
	root, err = r.roots.Find(dir)
	return root, dir, err
}
