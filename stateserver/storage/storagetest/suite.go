package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Config is what the suite needs to know of a storage.
type Config struct {
	// Open gives a storage of an empty directory that is the test's own. The suite
	// closes it.
	Open func(t *testing.T) storage.Storage
	// Reopen gives the same directory as another process would see it.
	Reopen func(t *testing.T, s storage.Storage) storage.Storage
	// Large is the size of the largest file that is written; 0: 40 MiB.
	Large int
}

// begun is how many bytes a storage has taken some of before Commit, whatever it
// collects first.
const begun = 6 << 20

// Run is the suite that every storage of files passes.
func Run(t *testing.T, c Config) {
	if c.Large == 0 {
		c.Large = 40 << 20
	}
	for _, test := range []struct {
		name string
		f    func(t *testing.T, c Config, s storage.Storage)
	}{
		{"RoundTrip", roundTrip},
		{"Large", large},
		{"Range", ranges},
		{"InvisibleUntilCommit", invisible},
		{"Abort", abort},
		{"Replace", replace},
		{"Stat", stat},
		{"List", list},
		{"Delete", deletes},
		{"DeleteAll", deleteAll},
		{"DeleteUnfinished", deleteUnfinished},
		{"Names", names},
		{"Cancel", cancels},
		{"Concurrent", concurrent},
		{"OtherProcess", otherProcess},
		{"Sub", subs},
		{"Probe", probes},
		{"Corrupt", corrupts},
		{"Retry", retries},
		{"OpenAt", openAt},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := c.Open(t)
			defer s.Close()
			test.f(t, c, s)
		})
	}
}

// Contents are n bytes that depend on the seed.
func Contents(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	_, _ = src.Read(b) // it never fails
	return b
}

// Write writes a file and fails the test if that fails.
func Write(t *testing.T, s storage.Storage, name string, contents []byte) storage.FileHandle {
	t.Helper()
	w, err := storage.Create(t.Context(), s, name)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	// In pieces of an odd size, as writers do.
	for piece := range slices.Chunk(contents, 30011) {
		if n, err := w.Write(piece); err != nil || n != len(piece) {
			t.Fatalf("write %s: %d of %d bytes, %v", name, n, len(piece), err)
		}
	}
	h, err := w.Commit()
	if err != nil {
		t.Fatalf("commit %s: %v", name, err)
	}
	return h
}

func read(t *testing.T, s storage.Storage, h storage.FileHandle) []byte {
	t.Helper()
	got, err := storage.ReadAll(t.Context(), s, storage.Handle{File: &h})
	if err != nil {
		t.Fatalf("read %s: %v", h.Path, err)
	}
	return got
}

func listed(t *testing.T, s storage.Storage, dir string) []string {
	t.Helper()
	all, err := storage.ListAll(t.Context(), s, dir)
	if err != nil {
		t.Fatalf("list %q: %v", dir, err)
	}
	names := make([]string, 0, len(all))
	for _, info := range all {
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

func wantListed(t *testing.T, s storage.Storage, dir string, want ...string) {
	t.Helper()
	if got := listed(t, s, dir); !slices.Equal(got, want) {
		t.Fatalf("list %q = %q, want %q", dir, got, want)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want one of kind %q", what, err, kind)
	}
	var e *storage.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: error %v is no *storage.Error", what, err)
	}
}

func roundTrip(t *testing.T, _ Config, s storage.Storage) {
	for i, n := range []int{0, 1, 20 << 10, 1<<20 + 1} {
		contents := Contents(uint64(i), n)
		h := Write(t, s, fmt.Sprintf("chk-1/f%d", n), contents)
		if h.Size != int64(n) {
			t.Errorf("size of the handle = %d, want %d", h.Size, n)
		}
		if !bytes.Equal(read(t, s, h), contents) {
			t.Errorf("contents of %d bytes are not those that were written", n)
		}
	}
	if !strings.Contains(s.URL(), ":") {
		t.Errorf("URL = %q", s.URL())
	}
}

func large(t *testing.T, c Config, s storage.Storage) {
	contents := Contents(9, c.Large)
	h := Write(t, s, "shared/large", contents)
	if !bytes.Equal(read(t, s, h), contents) {
		t.Errorf("contents of %d bytes are not those that were written", len(contents))
	}
}

func ranges(t *testing.T, _ Config, s storage.Storage) {
	contents := Contents(3, 300_000)
	Write(t, s, "f", contents)
	Write(t, s, "empty", nil)
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {0, -1}, {1, 10}, {299_999, 1}, {299_999, -1}, {300_000, 0}, {300_000, -1}, {65_536, 131_072}} {
		in, err := s.Open(t.Context(), "f", r[0], r[1])
		if err != nil {
			t.Fatalf("open %v: %v", r, err)
		}
		want := contents[r[0]:]
		if r[1] >= 0 {
			want = want[:r[1]]
		}
		got, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("range %v: %d bytes, %v; want %d", r, len(got), err, len(want))
		}
		_ = in.Close() // it was only read
	}
	in, err := s.Open(t.Context(), "empty", 0, -1)
	if err != nil {
		t.Fatalf("open of an empty file: %v", err)
	}
	_ = in.Close() // it was only read
	for _, r := range [][2]int64{{0, 300_001}, {300_001, 1}, {299_999, 2}} {
		in, err := s.Open(t.Context(), "f", r[0], r[1])
		if err == nil {
			_, err = io.ReadAll(in)
			_ = in.Close() // it was only read
		}
		wantKind(t, fmt.Sprintf("range %v beyond the end", r), err, storage.ErrCorrupt)
	}
	_, err = s.Open(t.Context(), "none", 0, -1)
	wantKind(t, "open of a file that is not there", err, storage.ErrNotFound)
}

func invisible(t *testing.T, _ Config, s storage.Storage) {
	w, err := s.Create(t.Context(), "chk-1/f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Abort() }()
	for i := range 3 {
		if _, err := w.Write(Contents(uint64(i), begun)); err != nil {
			t.Fatal(err)
		}
	}
	wantListed(t, s, "")
	_, err = s.Stat(t.Context(), "chk-1/f")
	wantKind(t, "stat before commit", err, storage.ErrNotFound)
	_, err = s.Open(t.Context(), "chk-1/f", 0, -1)
	wantKind(t, "open before commit", err, storage.ErrNotFound)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	wantListed(t, s, "", "chk-1/f")
	info, err := s.Stat(t.Context(), "chk-1/f")
	if err != nil || info.Size != 3*begun {
		t.Errorf("stat = %+v, %v; want 18 MiB", info, err)
	}
}

func abort(t *testing.T, _ Config, s storage.Storage) {
	for _, n := range []int{0, 10, 20 << 20} {
		w, err := s.Create(t.Context(), "d/f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Contents(1, n)); err != nil {
			t.Fatal(err)
		}
		if err := w.Abort(); err != nil {
			t.Errorf("abort after %d bytes: %v", n, err)
		}
		wantListed(t, s, "")
	}
	if n, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("abort left %d unfinished files (%v)", n, err)
	}
}

func replace(t *testing.T, _ Config, s storage.Storage) {
	Write(t, s, "f", Contents(1, 50_000))
	h := Write(t, s, "f", Contents(2, 1000))
	if got := read(t, s, h); !bytes.Equal(got, Contents(2, 1000)) {
		t.Errorf("a file that was written again has %d bytes, want the 1000 new ones", len(got))
	}
}

func stat(t *testing.T, _ Config, s storage.Storage) {
	Write(t, s, "a/b/c", Contents(1, 77))
	info, err := s.Stat(t.Context(), "a/b/c")
	if err != nil || info.Name != "a/b/c" || info.Size != 77 || info.Modified.IsZero() {
		t.Errorf("stat = %+v, %v", info, err)
	}
	for _, name := range []string{"a", "a/b", "a/b/d", "x/y"} {
		_, err := s.Stat(t.Context(), name)
		wantKind(t, "stat of "+name, err, storage.ErrNotFound)
	}
}

func list(t *testing.T, _ Config, s storage.Storage) {
	wantListed(t, s, "")
	wantListed(t, s, "chk-1")
	for _, name := range []string{"chk-1/a", "chk-1/b/c", "chk-10/a", "shared/x", "top"} {
		Write(t, s, name, []byte(name))
	}
	wantListed(t, s, "", "chk-1/a", "chk-1/b/c", "chk-10/a", "shared/x", "top")
	wantListed(t, s, "chk-1", "chk-1/a", "chk-1/b/c")
	wantListed(t, s, "chk-1/b", "chk-1/b/c")
	for info, err := range s.List(t.Context(), "shared") {
		if err != nil || info.Size != 8 || info.Modified.IsZero() {
			t.Errorf("list has %+v, %v", info, err)
		}
	}
	// Stopping in the middle.
	for i := range 5 {
		Write(t, s, fmt.Sprintf("many/%d", i), nil)
	}
	n := 0
	for _, err := range s.List(t.Context(), "many") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("a list that is left early yielded %d", n)
	}
}

func deletes(t *testing.T, _ Config, s storage.Storage) {
	Write(t, s, "d/a", nil)
	Write(t, s, "d/b", nil)
	for range 2 { // the second time it is not there
		if err := s.Delete(t.Context(), "d/a"); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	if err := s.Delete(t.Context(), "no/such/file"); err != nil {
		t.Errorf("delete of what never was: %v", err)
	}
	wantListed(t, s, "", "d/b")
	_, err := s.Open(t.Context(), "d/a", 0, -1)
	wantKind(t, "open of a deleted file", err, storage.ErrNotFound)
}

func deleteAll(t *testing.T, _ Config, s storage.Storage) {
	for _, name := range []string{"chk-1/a", "chk-1/b/c", "chk-10/a", "chk-2/a"} {
		Write(t, s, name, nil)
	}
	w, err := s.Create(t.Context(), "chk-1/unfinished")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Contents(1, begun)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.DeleteAll(t.Context(), "chk-1"); err != nil {
			t.Fatalf("delete all: %v", err)
		}
	}
	_ = w.Abort() // it may say that its file is gone
	wantListed(t, s, "", "chk-10/a", "chk-2/a")
	if n, err := s.DeleteUnfinished(t.Context(), "chk-1", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("delete all left %d unfinished files (%v)", n, err)
	}
	Write(t, s, "chk-1/again", nil)
	if err := s.DeleteAll(t.Context(), ""); err != nil {
		t.Fatalf("delete all of the whole: %v", err)
	}
	wantListed(t, s, "")
	Write(t, s, "new/f", nil)
	wantListed(t, s, "", "new/f")
}

func deleteUnfinished(t *testing.T, c Config, s storage.Storage) {
	Write(t, s, "shared/done", nil)
	ctx, giveUp := context.WithCancel(t.Context())
	w, err := s.Create(ctx, "shared/left")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Contents(1, begun)); err != nil {
		t.Fatal(err)
	}
	other := c.Reopen(t, s)
	defer other.Close()
	if n, err := other.DeleteUnfinished(t.Context(), "", time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("unfinished files of an hour ago: %d, %v; want none", n, err)
	}
	if n, err := other.DeleteUnfinished(t.Context(), "shared", time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("unfinished files: %d, %v; want 1", n, err)
	}
	giveUp()
	_ = w.Abort() // its file is gone
	wantListed(t, s, "", "shared/done")
}

func names(t *testing.T, _ Config, s storage.Storage) {
	for _, name := range []string{"", ".", "..", "../f", "a/../f", "/f", "a//b", "a/", ".hidden", "a/.b", "a b", "a\x00b", strings.Repeat("x", 300)} {
		_, err := s.Create(t.Context(), name)
		wantKind(t, fmt.Sprintf("create %q", name), err, storage.ErrInvalidName)
		_, err = s.Open(t.Context(), name, 0, -1)
		wantKind(t, fmt.Sprintf("open %q", name), err, storage.ErrInvalidName)
		_, err = s.Stat(t.Context(), name)
		wantKind(t, fmt.Sprintf("stat %q", name), err, storage.ErrInvalidName)
		wantKind(t, fmt.Sprintf("delete %q", name), s.Delete(t.Context(), name), storage.ErrInvalidName)
		if name == "" {
			continue
		}
		wantKind(t, fmt.Sprintf("delete all %q", name), s.DeleteAll(t.Context(), name), storage.ErrInvalidName)
		_, err = storage.ListAll(t.Context(), s, name)
		wantKind(t, fmt.Sprintf("list %q", name), err, storage.ErrInvalidName)
	}
	long := strings.Repeat("x", 220) + "/A-z_0.9=@+"
	if h := Write(t, s, long, []byte("x")); string(read(t, s, h)) != "x" {
		t.Errorf("a name with every kind of byte is not read")
	}
	wantListed(t, s, "", long)
}

func cancels(t *testing.T, _ Config, s storage.Storage) {
	Write(t, s, "f", Contents(1, begun))
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Create(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(ctx, "f", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	_, err = w.Write(Contents(1, begun))
	if err == nil {
		err = w.Commit()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("write with a cancelled context: %v", err)
	}
	_ = w.Abort() // its context is over
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a cancelled context: %v", err)
	}
	if _, err := s.Stat(ctx, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("stat with a cancelled context: %v", err)
	}
	wantListed(t, s, "", "f")
}

func concurrent(t *testing.T, _ Config, s storage.Storage) {
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			name := fmt.Sprintf("chk-%d/f%d", i%3, i)
			contents := Contents(uint64(i), 100_000+i)
			w, err := storage.Create(t.Context(), s, name)
			if err != nil {
				t.Errorf("create %s: %v", name, err)
				return
			}
			if _, err := w.Write(contents); err != nil {
				t.Errorf("write %s: %v", name, err)
			}
			h, err := w.Commit()
			if err != nil {
				t.Errorf("commit %s: %v", name, err)
				return
			}
			got, err := storage.ReadAll(t.Context(), s, storage.Handle{File: &h})
			if err != nil || !bytes.Equal(got, contents) {
				t.Errorf("read %s: %d bytes, %v", name, len(got), err)
			}
		})
	}
	wg.Wait()
	if got := listed(t, s, ""); len(got) != 12 {
		t.Errorf("list = %q, want 12 files", got)
	}
}

func otherProcess(t *testing.T, c Config, s storage.Storage) {
	other := c.Reopen(t, s)
	defer other.Close()
	h := Write(t, s, "chk-1/f", []byte("x"))
	if got := read(t, other, h); string(got) != "x" {
		t.Errorf("another process reads %q", got)
	}
	mark, err := storage.PlantMark(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.CheckMark(t.Context(), other, mark); err != nil {
		t.Errorf("mark of another process: %v", err)
	}
	wantKind(t, "a mark that nobody planted", storage.CheckMark(t.Context(), other, "mark-none"), storage.ErrNotFound)
	if err := other.DeleteAll(t.Context(), "chk-1"); err != nil {
		t.Fatal(err)
	}
	wantListed(t, s, "", mark)
	Write(t, s, "chk-1/g", nil) // the directory is gone, and made again
	wantListed(t, other, "chk-1", "chk-1/g")
}

func subs(t *testing.T, _ Config, s storage.Storage) {
	job := storage.Sub(s, "job")
	h := Write(t, job, "chk-1/f", []byte("x"))
	if h.Path != "chk-1/f" || string(read(t, job, h)) != "x" {
		t.Errorf("handle %+v", h)
	}
	wantListed(t, s, "", "job/chk-1/f")
	wantListed(t, job, "", "chk-1/f")
	wantListed(t, storage.Sub(job, "chk-1"), "", "f")
	if want := storage.JoinURL(s.URL(), "job"); job.URL() != want {
		t.Errorf("URL = %q, want %q", job.URL(), want)
	}
	if err := job.DeleteAll(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	wantListed(t, s, "")
}

func probes(t *testing.T, _ Config, s storage.Storage) {
	if err := storage.Probe(t.Context(), s); err != nil {
		t.Errorf("probe: %v", err)
	}
	wantListed(t, s, "")
}

func corrupts(t *testing.T, _ Config, s storage.Storage) {
	contents := Contents(1, 100_000)
	h := Write(t, s, "f", contents)
	flipped := bytes.Clone(contents)
	flipped[77_777] ^= 4
	for _, c := range []struct {
		what     string
		contents []byte
	}{{"truncated", contents[:99_999]}, {"too long", append(bytes.Clone(contents), 0)}, {"not those that were written", flipped}} {
		Write(t, s, "f", c.contents)
		_, err := storage.ReadAll(t.Context(), s, storage.Handle{File: &h})
		wantKind(t, c.what, err, storage.ErrCorrupt)
		if !strings.Contains(err.Error(), storage.JoinURL(s.URL(), "f")) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("error %q names neither the file nor that it is %s", err, c.what)
		}
	}
}
