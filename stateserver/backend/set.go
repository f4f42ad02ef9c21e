package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// Set is the backends of one node: each is made when it is first asked for.
type Set struct {
	registry *Registry
	env      Env

	mu     sync.Mutex
	made   map[string]Backend
	closed bool
}

// NewSet makes the set of a node. Each backend gets a directory of its own below
// env.Dir, and the rest of env as it is.
func NewSet(registry *Registry, env Env) *Set {
	if env.Option == nil {
		env.Option = func(string) string { return "" }
	}
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	return &Set{registry: registry, env: env, made: map[string]Backend{}}
}

// Names lists the backends that a job can name here, Memory apart.
func (s *Set) Names() []string { return s.registry.Names() }

// Get returns a backend and makes it if it is not there yet. The directory is
// emptied before: what an earlier process left is of no use.
func (s *Set) Get(name string) (Backend, error) {
	name = s.registry.Canonical(name)
	factory, err := s.registry.Lookup(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("state backend %q: this node is stopping", name)
	}
	if b := s.made[name]; b != nil {
		return b, nil
	}
	env := s.env
	env.Dir = filepath.Join(s.env.Dir, name)
	env.Logger = s.env.Logger.With("backend", name)
	if err := freshDir(env.Dir); err != nil {
		return nil, fmt.Errorf("state backend %q: %w", name, err)
	}
	b, err := factory(env)
	if err != nil {
		return nil, fmt.Errorf("make state backend %q: %w", name, err)
	}
	s.made[name] = b
	return b, nil
}

func freshDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("empty its directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make its directory: %w", err)
	}
	return nil
}

// Close closes every backend that was made. Every State is closed by then.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for name, b := range s.made {
		if err := b.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close state backend %q: %w", name, err))
		}
	}
	clear(s.made)
	return errors.Join(errs...)
}
