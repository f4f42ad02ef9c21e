package backend

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type noBackend struct{ closed *int }

func (noBackend) Open(context.Context, Spec) (State, error) {
	return nil, errors.New("opens nothing")
}

func (noBackend) ReadSnapshot(context.Context, Spec, Files, []*holdfastv1.StateHandle) (Entries, error) {
	return nil, errors.New("reads nothing")
}

func (b noBackend) Close() error {
	*b.closed++
	return nil
}

// TestRegistry_Names: who is refused, who is found, and what a wrong name is told.
func TestRegistry_Names(t *testing.T) {
	r := NewRegistry()
	factory := func(Env) (Backend, error) { return noBackend{new(int)}, nil }
	if err := errors.Join(r.Register("filesystem", factory), r.Register("mine", factory), r.Alias("hashmap", "filesystem")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"mine": "taken", "hashmap": "taken", "memory": "built-in", "jobmanager": "built-in", "": "a name is", "Mine": "a name is", "a/b": "a name is", "..": "a name is",
	} {
		if err := r.Register(name, factory); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Register(%q) = %v, want one with %q", name, err, want)
		}
	}
	if err := r.Register("other", nil); err == nil {
		t.Error("a nil factory is registered")
	}
	if err := r.Alias("x", "nobody"); err == nil {
		t.Error("an alias of nothing is registered")
	}
	if _, err := r.Lookup("hashmap"); err != nil {
		t.Error(err)
	}
	_, err := r.Lookup("rocksdb")
	if want := `unknown state backend "rocksdb"; this node has: memory, filesystem, mine`; err == nil || err.Error() != want {
		t.Errorf("Lookup of an unknown name: %v, want %s", err, want)
	}
}

// TestSet_MakesEachBackendOnce, in an empty directory of its own. What an earlier
// process left of any backend goes before the first one is needed.
func TestSet_MakesEachBackendOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for _, name := range []string{"mine", "of another release"} {
		left := filepath.Join(dir, name, "left")
		if err := errors.Join(os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	made, closed := 0, 0
	r := NewRegistry()
	err := r.Register("mine", func(env Env) (Backend, error) {
		made++
		if found, err := os.ReadDir(env.Dir); err != nil || len(found) != 0 || env.Option("x") != "" || env.Logger == nil {
			t.Errorf("%s has %v, %v", env.Dir, found, err)
		}
		return noBackend{&closed}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSet(r, Env{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the working state of an earlier process is there: %v", err)
	}
	for range 2 {
		if _, err := s.Get("mine"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil || made != 1 || closed != 1 {
		t.Errorf("made %d, closed %d, %v", made, closed, err)
	}
	if _, err := s.Get("mine"); err == nil {
		t.Error("a closed set makes backends")
	}
}
