package stateserver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
)

// What a node that was killed has left of a try is deleted by its age, and nothing else.
func TestDeleteProbes_ByAge(t *testing.T) {
	root := t.TempDir()
	roots, err := storage.ParseRoots([]string{"file://" + root})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := storage.NewRegistry(roots, map[string]storage.Scheme{"file": file.Scheme{NoFsync: true}}).Open(t.Context(), "file://"+root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := deleteProbes(t.Context(), dir, time.Now()); err != nil {
		t.Fatalf("where nothing was ever tried: %v", err)
	}
	mark, err := storage.PlantMark(t.Context(), storage.Sub(dir, probesDir))
	if err != nil {
		t.Fatal(err)
	}
	gone := []string{"probes/mark-0011223344556677", "probes/probe-0011223344556677", "probes/.tmp-0011223344556677-mark-00"}
	stays := []string{"probes/" + mark, "job/chk-1/_metadata", "job/shared/mark-1"}
	old := time.Now().Add(-2 * probeAge)
	for _, name := range slices.Concat(gone, stays[1:]) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := deleteProbes(t.Context(), dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range gone {
		if _, err := os.Stat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}
