package backend

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Memory is the backend whose state is in the log: the one name that no factory
// can have.
const Memory = "memory"

// nameRE is what a job's specification can name.
var nameRE = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// Registry has the factories of a daemon by name. A daemon has one and fills it
// before it starts; it may be used by several goroutines.
type Registry struct {
	mu        sync.RWMutex
	factories map[string]Factory
	aliases   map[string]string
}

// NewRegistry returns a registry without factories.
func NewRegistry() *Registry {
	return &Registry{factories: map[string]Factory{}, aliases: map[string]string{}}
}

// Register adds a factory under a name that jobs use as state.backend. A name that
// is taken is refused, Memory and its old name jobmanager too.
func (r *Registry) Register(name string, f Factory) error {
	if f == nil {
		return fmt.Errorf("register state backend %q: the factory is nil", name)
	}
	return r.add(name, func() { r.factories[name] = f })
}

// Alias gives a registered factory a second name.
func (r *Registry) Alias(alias, name string) error {
	if _, err := r.Lookup(name); err != nil {
		return fmt.Errorf("register state backend %q: %w", alias, err)
	}
	return r.add(alias, func() { r.aliases[alias] = name })
}

func (r *Registry) add(name string, put func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, isFactory := r.factories[name]
	_, isAlias := r.aliases[name]
	switch {
	case !nameRE.MatchString(name):
		return fmt.Errorf("register state backend %q: a name is a letter and up to 31 letters, digits, - and _, all of them lower case", name)
	case name == Memory || name == "jobmanager":
		return fmt.Errorf("register state backend %q: the name is the built-in one; choose another", name)
	case isFactory || isAlias:
		return fmt.Errorf("register state backend %q: the name is taken; choose another", name)
	}
	put()
	return nil
}

// Lookup finds a factory by name or alias. The error lists the names that there
// are.
func (r *Registry) Lookup(name string) (Factory, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if f := r.factories[r.canonical(name)]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("unknown state backend %q; this node has: %s", name, strings.Join(append([]string{Memory}, r.names()...), ", "))
}

// Canonical resolves an alias; any other name is returned as it is.
func (r *Registry) Canonical(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.canonical(name)
}

func (r *Registry) canonical(name string) string {
	if to, ok := r.aliases[name]; ok {
		return to
	}
	return name
}

// Names lists the factories, sorted, without aliases.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.names()
}

func (r *Registry) names() []string { return slices.Sorted(maps.Keys(r.factories)) }
