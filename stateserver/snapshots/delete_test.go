package snapshots

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
)

// errKilled is what a process meets that is no more.
var errKilled = errors.New("killed")

// mortal is the file scheme of a process that is killed when it has deleted so many
// files. Its DeleteAll takes the manifest first: no storage promises an order.
type mortal struct {
	file.Scheme
	left *int
}

func (m mortal) Open(ctx context.Context, root, dir storage.Location) (storage.Storage, error) {
	s, err := m.Scheme.Open(ctx, root, dir)
	return mortalStorage{s, m.left}, err
}

type mortalStorage struct {
	storage.Storage
	left *int
}

func (m mortalStorage) Delete(ctx context.Context, name string) error {
	if *m.left == 0 {
		return errKilled
	}
	*m.left--
	return m.Storage.Delete(ctx, name)
}

func (m mortalStorage) DeleteAll(ctx context.Context, dir string) error {
	names, err := storage.ListAll(ctx, storage.Sub(m.Storage, dir), "")
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b storage.FileInfo) int {
		switch storage.MetadataName {
		case a.Name:
			return -1
		case b.Name:
			return 1
		}
		return 0
	})
	for _, n := range names {
		if err := m.Delete(ctx, join(dir, n.Name)); err != nil {
			return err
		}
	}
	return m.Storage.DeleteAll(ctx, dir)
}

// checkHalf fails if a job could begin from a snapshot of which files are gone: it must
// be refused with the name of one.
func (w *world) checkHalf(t *testing.T, url string, killed int) {
	t.Helper()
	r, err := Open(t.Context(), w.reg, nil, url)
	if errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.CheckFiles(t.Context()); !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "file://"+w.root+"/") {
		t.Fatalf("killed behind %d deletions: a job may begin from what is left: %v", killed, err)
	}
}

// TestDelete_IsDoneAgain: whoever is killed in the middle of a deletion, at any file,
// leaves what the next one finds and deletes, or nothing.
func TestDelete_IsDoneAgain(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(5, 6)), "memory", 3)
	left := 0
	roots, err := storage.ParseRoots([]string{"file://" + w.root})
	if err != nil {
		t.Fatal(err)
	}
	dying := storage.NewRegistry(roots, map[string]storage.Scheme{"file": mortal{file.Scheme{NoFsync: true}, &left}})
	url := "file://" + w.root + "/savepoint"
	for killed := 0; ; killed++ {
		w.writeCanonical(t, "savepoint", w.memory(t), 0)
		left = killed
		_, err := Delete(t.Context(), dying, url)
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if err != nil && killed > 0 {
			w.checkHalf(t, url, killed)
		}
		if _, again := Delete(t.Context(), w.reg, url); again != nil {
			t.Fatal(again)
		}
		if there, _ := os.ReadDir(filepath.Join(w.root, "savepoint")); len(there) > 0 {
			t.Fatalf("killed behind %d deletions: %d files are left, and nobody finds them: %v", killed, len(there), there)
		}
		if err == nil {
			if killed < 4 {
				t.Fatalf("it was deleted in %d steps", killed)
			}
			return
		}
	}
}

// TestDelete_CheckpointIsDoneAgain is the same for a checkpoint: what another one beside
// it names stays.
func TestDelete_CheckpointIsDoneAgain(t *testing.T) {
	left := 0
	for killed := 0; ; killed++ {
		w := newWorld(t, rand.New(rand.NewPCG(5, 6)), "filesystem", 3)
		w.writeNative(t, newBackends(t)["filesystem"])
		roots, err := storage.ParseRoots([]string{"file://" + w.root})
		if err != nil {
			t.Fatal(err)
		}
		dying := storage.NewRegistry(roots, map[string]storage.Scheme{"file": mortal{file.Scheme{NoFsync: true}, &left}})
		job := "file://" + w.root + "/ckpt/" + worldJob
		left = killed
		_, err = Delete(t.Context(), dying, job+"/chk-7")
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if err != nil && killed > 0 {
			w.checkHalf(t, job+"/chk-7", killed)
		}
		if _, again := Delete(t.Context(), w.reg, job+"/chk-7"); again != nil {
			t.Fatal(again)
		}
		s, _ := w.reg.Open(t.Context(), job)
		if there, err := storage.ListAll(t.Context(), s, ""); err != nil || len(there) > 0 {
			t.Fatalf("killed behind %d deletions: %v is left, and nobody finds it: %v", killed, there, err)
		}
		if err == nil {
			if killed < 4 {
				t.Fatalf("it was deleted in %d steps", killed)
			}
			return
		}
	}
}
