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

// NewSet makes the set of a node and removes env.Dir, where each backend gets a
// directory of its own: what an earlier process left there is of no use, though none
// of its backends is ever needed again. The rest of env a backend gets as it is.
func NewSet(registry *Registry, env Env) (*Set, error) {
	if env.Option == nil {
		env.Option = func(string) string { return "" }
	}
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.RemoveAll(env.Dir); err != nil {
		return nil, fmt.Errorf("remove the working state that an earlier process left in %s: %w", env.Dir, err)
	}
	return &Set{registry: registry, env: env, made: map[string]Backend{}}, nil
}

// Names lists the backends that a job can name here, Memory apart.
func (s *Set) Names() []string { return s.registry.Names() }

// Get returns a backend and makes it, and its directory, if it is not there yet.
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
	if err := os.MkdirAll(env.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of state backend %q: %w", name, err)
	}
	b, err := factory(env)
	if err != nil {
		return nil, fmt.Errorf("make state backend %q: %w", name, err)
	}
	s.made[name] = b
	return b, nil
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
