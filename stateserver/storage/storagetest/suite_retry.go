package storagetest

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// quick is a policy for faults of a test.
var quick = storage.RetryPolicy{Initial: time.Millisecond, Max: 10 * time.Millisecond, Elapsed: 20 * time.Second}

// retries: what fails now and then is written and read all the same, by several at a
// time.
func retries(t *testing.T, _ Config, s storage.Storage) {
	f := New(s)
	for _, op := range []Op{OpCreate, OpWrite, OpCommit, OpOpen, OpRead} {
		fault := Outage()
		fault.Op, fault.After, fault.Times = op, 2, 3
		defer f.Inject(fault)()
	}
	const files = 9
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			contents := Contents(uint64(i), i*20_000)
			h, err := storage.Put(t.Context(), f, fmt.Sprint("shared/", i), quick, write(contents))
			if err != nil {
				t.Errorf("write file %d: %v", i, err)
				return
			}
			got, err := storage.ReadAll(t.Context(), storage.WithRetry(f, quick), storage.Handle{File: &h})
			if err != nil || !bytes.Equal(got, contents) {
				t.Errorf("file %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
	if got := listed(t, s, ""); len(got) != files {
		t.Errorf("list = %q, want %d files", got, files)
	}
	t.Run("resumed reading", func(t *testing.T) { resumed(t, s) })
	t.Run("full", func(t *testing.T) { full(t, s) })
}

// write writes all of a file.
func write(contents []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(contents)
		return err
	}
}

// resumed: a reader that breaks goes on where it was.
func resumed(t *testing.T, s storage.Storage) {
	contents := Contents(5, 500_000)
	h := Write(t, s, "resumed", contents)
	f := New(s)
	fault := Outage()
	fault.Op, fault.After, fault.Times = OpRead, 1, 5
	defer f.Inject(fault)()
	r, err := storage.Open(t.Context(), storage.WithRetry(f, quick), storage.Handle{File: &h})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, contents) {
		t.Errorf("read %d of %d bytes, %v", len(got), len(contents), err)
	}
	if n := f.Calls(OpOpen); n != 6 {
		t.Errorf("opened %d times, want once and once for each of 5 breaks", n)
	}
}

// full: what is permanent is not tried again, and what failed leaves nothing.
func full(t *testing.T, s storage.Storage) {
	f := New(s)
	defer f.Inject(Full())()
	_, err := storage.Put(t.Context(), f, "full", quick, write(Contents(1, 20_000)))
	wantKind(t, "a write to a full disk", err, storage.ErrNoSpace)
	if n := f.Calls(OpCreate); n != 1 {
		t.Errorf("tried %d times, want once", n)
	}
	if n, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("left %d unfinished files, %v", n, err)
	}
}

func openAt(t *testing.T, _ Config, s storage.Storage) {
	contents := Contents(4, 1<<20)
	h := Write(t, s, "f", contents)
	f := New(s)
	r, err := storage.OpenAt(t.Context(), f, storage.Handle{File: &h})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Size() != 1<<20 {
		t.Errorf("size = %d", r.Size())
	}
	buf := make([]byte, 1000)
	for off := int64(0); off < 1<<20; off += 1000 {
		n, err := r.ReadAt(buf, off)
		want := contents[off:min(off+1000, 1<<20)]
		if !bytes.Equal(buf[:n], want) || (len(want) == 1000) != (err == nil) {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	}
	if n := f.Calls(OpOpen); n != 2 {
		t.Errorf("reading front to back opened the file %d times, want once for its tail and once for all", n)
	}
	for _, off := range []int64{1 << 19, 0, 1<<20 - 1000, 5} {
		if n, err := r.ReadAt(buf, off); err != nil || !bytes.Equal(buf[:n], contents[off:off+1000]) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}
	Write(t, s, "f", Contents(5, 1<<20))
	_, err = storage.OpenAt(t.Context(), s, storage.Handle{File: &h})
	wantKind(t, "another file of the same size", err, storage.ErrCorrupt)
	Write(t, s, "f", contents[:1000])
	_, err = storage.OpenAt(t.Context(), s, storage.Handle{File: &h})
	wantKind(t, "a truncated file", err, storage.ErrCorrupt)
}
