package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

func registry(t *testing.T, roots ...string) *storage.Registry {
	t.Helper()
	r, err := storage.ParseRoots(roots)
	if err != nil {
		t.Fatal(err)
	}
	return storage.NewRegistry(r, map[string]storage.Scheme{"file": file.Scheme{}})
}

func open(t *testing.T, root, dir string) storage.Storage {
	t.Helper()
	s, err := registry(t, "file://"+root).Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFile_Suite(t *testing.T) {
	storagetest.Run(t, storagetest.Config{
		Open: func(t *testing.T) storage.Storage {
			root := t.TempDir()
			return open(t, root, root+"/jobs/one")
		},
		Reopen: func(t *testing.T, s storage.Storage) storage.Storage {
			dir := strings.TrimPrefix(s.URL(), "file://")
			return open(t, filepath.Dir(filepath.Dir(dir)), dir)
		},
		Large: 8 << 20,
	})
}

// The root itself as the directory.
func TestFile_SuiteAtTheRoot(t *testing.T) {
	storagetest.Run(t, storagetest.Config{
		Open: func(t *testing.T) storage.Storage { d := t.TempDir(); return open(t, d, d) },
		Reopen: func(t *testing.T, s storage.Storage) storage.Storage {
			d := strings.TrimPrefix(s.URL(), "file://")
			return open(t, d, d)
		},
		Large: 1 << 20,
	})
}

func TestFile_RootsHold(t *testing.T) {
	base := t.TempDir()
	mk := func(dir string) string {
		t.Helper()
		dir = filepath.Join(base, dir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	root := mk("root")
	mk("root/inside/deep")
	outside := mk("outside")
	link(outside, "root/absolute")
	link("../outside", "root/relative")
	link("../nowhere", "root/dangling")
	link("inside", "root/within")
	link("root", "linked-root")
	if err := os.WriteFile(filepath.Join(root, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const leads = "leads out of the allowed root"
	for _, c := range []struct {
		name, dir string
		kind      error
		text      string
	}{
		{"the root", root, nil, ""},
		{"below", root + "/new/dir", nil, ""},
		{"a slash at the end", root + "/new/", nil, ""},
		{"a link that stays inside", root + "/within/deep", nil, ""},
		{"the root by a link", base + "/linked-root/x", storage.ErrRefused, "is not below an allowed root"},
		{"outside", outside, storage.ErrRefused, "is not below an allowed root (file://" + root + "); name one below it, or add a root to storage.allowed-roots"},
		{"a prefix of bytes, not of elements", root + "-other", storage.ErrRefused, "is not below an allowed root"},
		{"dots", root + "/../outside", storage.ErrInvalidName, `has the element ".."`},
		{"dots in the middle", root + "/a/../../outside", storage.ErrInvalidName, `has the element ".."`},
		{"encoded dots", root + "/%2e%2e/outside", storage.ErrInvalidName, `has the character '%'`},
		{"an empty element", root + "//x", storage.ErrInvalidName, "has an empty element"},
		{"an absolute link out", root + "/absolute", storage.ErrRefused, leads},
		{"below an absolute link out", root + "/absolute/x/y", storage.ErrRefused, leads},
		{"a relative link out", root + "/relative/x", storage.ErrRefused, leads},
		{"a link to nothing", root + "/dangling/x", storage.ErrRefused, leads},
		{"a file", root + "/plain", storage.ErrInvalidName, "it is a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := registry(t, "file://"+root).Open(t.Context(), "file://"+c.dir)
			if c.kind == nil {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				defer s.Close()
				if err := storage.Probe(t.Context(), s); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v; want kind %q and %q", err, c.kind, c.text)
			}
		})
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside of the root there are %v, %v", entries, err)
	}
}

// A link that is planted after the check leads nowhere either.
func TestFile_LinkPlantedLater(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	s := open(t, root, root+"/job")
	defer s.Close()
	storagetest.Write(t, s, "chk-1/f", nil)
	if err := os.Symlink(outside, filepath.Join(root, "job", "chk-2")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), "chk-2/f")
	if !errors.Is(err, storage.ErrRefused) {
		t.Errorf("create behind a link out: %v", err)
	}
	if err := s.DeleteAll(t.Context(), "chk-2"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("deleting the link deleted what it names: %v", err)
	}
}

// A user's own command follows the user's links.
func TestFile_AnyRootFollowsLinks(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "real"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	any := storage.NewRegistry(storage.AnyRoot(), map[string]storage.Scheme{"file": file.Scheme{}})
	s, err := any.Open(t.Context(), "file://"+base+"/link/new/dir")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storagetest.Write(t, s, "f", nil)
	if _, err := os.Stat(filepath.Join(base, "real", "new", "dir", "f")); err != nil {
		t.Error(err)
	}
}

func TestFile_MissingRootIsNotMade(t *testing.T) {
	root := filepath.Join(t.TempDir(), "mount")
	_, err := registry(t, "file://"+root).Open(t.Context(), "file://"+root+"/ckpt")
	want := "open the root file://" + root + ": no such file or directory; mount it, or make it on every node: a root that is not there is never made"
	if !errors.Is(err, storage.ErrNotFound) || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("the root was made")
	}
}

func TestFile_HostIsRefused(t *testing.T) {
	_, err := registry(t, "file://host/x").Open(t.Context(), "file://host/x/y")
	if !errors.Is(err, storage.ErrInvalidName) || !strings.Contains(err.Error(), `names the host "host"; a shared mount is written file:///x/y`) {
		t.Errorf("error %v", err)
	}
}

func TestFile_ReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may write everywhere; a file in the way of a directory is refused to
		// everybody.
		root := t.TempDir()
		s := open(t, root, root+"/job")
		defer s.Close()
		if err := os.WriteFile(filepath.Join(root, "job"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := storage.Probe(t.Context(), s); err == nil || !strings.Contains(err.Error(), "probe of the checkpoint directory: write file://") {
			t.Errorf("probe: %v", err)
		}
		return
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o500); err != nil {
		t.Fatal(err)
	}
	s := open(t, root, root+"/job")
	defer s.Close()
	err := storage.Probe(t.Context(), s)
	if !errors.Is(err, storage.ErrAccessDenied) || !strings.Contains(err.Error(), "give the user that holdfastd runs as the right to write there") {
		t.Errorf("probe: %v", err)
	}
}

// What is no regular file is not shown.
func TestFile_OddEntries(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, root)
	defer s.Close()
	storagetest.Write(t, s, "f", nil)
	if err := os.Symlink("f", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "an odd name"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := storage.ListAll(t.Context(), s, "")
	if err != nil || len(all) != 2 {
		t.Errorf("list = %v, %v; want f and the odd name", all, err)
	}
	if n, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
}
