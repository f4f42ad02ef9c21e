package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestStart_EmptiesStateDirectory: a node that starts removes what an earlier process
// left of its working state, and nothing else of what the user has beside it.
func TestStart_EmptiesStateDirectory(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	inData := func(c *Config) { c.DataDir = data }
	if err := startNode(t, inData).Close(); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "rocksdb", "file")
	left := []string{filepath.Join(dir, "holdfast-state", "rocksdb", "file"), filepath.Join(data, "state", "rocksdb", "file")}
	for _, f := range append(left, theirs) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o700), os.WriteFile(f, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	startNode(t, func(c *Config) { c.StateDir = dir })
	startNode(t, inData)
	for _, f := range left {
		if _, err := os.Stat(f); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there still: %v", f, err)
		}
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("what was not the node's: %v", err)
	}
}
