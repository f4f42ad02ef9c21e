package storage_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

func newFiles(t *testing.T) storage.Storage {
	t.Helper()
	dir := "file://" + t.TempDir()
	roots, err := storage.ParseRoots([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.NewRegistry(roots, map[string]storage.Scheme{"file": file.Scheme{NoFsync: true}}).Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRoots_Table(t *testing.T) {
	roots, err := storage.ParseRoots([]string{"file:///ckpt", "s3://bucket/a", "s3://bucket/a/b/", "hdfs://nn:8020/"})
	if err != nil {
		t.Fatal(err)
	}
	r := storage.NewRegistry(roots, map[string]storage.Scheme{"file": nil, "s3": nil, "hdfs": nil})
	for _, c := range []struct {
		url  string
		root string // where it is allowed
		kind error
		text string
	}{
		{url: "file:///ckpt", root: "file:///ckpt"},
		{url: "file:///ckpt/", root: "file:///ckpt"},
		{url: "file:/ckpt/jobs", root: "file:///ckpt"},
		{url: "FILE:///ckpt/jobs", root: "file:///ckpt"},
		{url: "s3://bucket/a/x", root: "s3://bucket/a"},
		{url: "s3://bucket/a/b/c", root: "s3://bucket/a/b"},
		{url: "hdfs://NN:8020/any/where", root: "hdfs://nn:8020"},
		{url: "hdfs://nn:8020", root: "hdfs://nn:8020"},

		{url: "/ckpt", kind: storage.ErrInvalidName, text: `invalid name: directory "/ckpt" has no scheme; a shared mount is written file:///ckpt`},
		{url: "ckpt", kind: storage.ErrInvalidName, text: `invalid name: directory "ckpt" has no scheme; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`},
		{url: "", kind: storage.ErrInvalidName, text: `invalid name: directory "" has no scheme; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`},
		{url: "1s://x", kind: storage.ErrInvalidName, text: "has no scheme"},
		{url: "s3:bucket", kind: storage.ErrInvalidName, text: `invalid name: directory "s3:bucket" has no slash behind the scheme; it is written like s3://...`},
		{url: "file:///ckpt/../etc", kind: storage.ErrInvalidName, text: `invalid name: directory "file:///ckpt/../etc" has the element ".."; write the directory that is meant`},
		{url: "file:///ckpt/./x", kind: storage.ErrInvalidName, text: `has the element "."`},
		{url: "s3://bucket/a/../../x", kind: storage.ErrInvalidName, text: `has the element ".."`},
		{url: "file:///ckpt//x", kind: storage.ErrInvalidName, text: `invalid name: directory "file:///ckpt//x" has an empty element`},
		{url: "file:///ckpt/%2e%2e/etc", kind: storage.ErrInvalidName, text: `has the character '%', which a directory may not have`},
		{url: "file:///ckpt/x\n", kind: storage.ErrInvalidName, text: `has the character '\n', which a directory may not have`},
		{url: "file:///ckpt?x", kind: storage.ErrInvalidName, text: `has the character '?'`},
		{url: `file:///ckpt\..\x`, kind: storage.ErrInvalidName, text: `has the character '\\'`},
		{url: "s3://key:secret@bucket/a", kind: storage.ErrInvalidName, text: "has a user in it; credentials belong into the configuration or the environment of the nodes"},
		{url: "gs://bucket/a", kind: storage.ErrUnknownScheme, text: `unknown scheme: directory gs://bucket/a has the scheme "gs"; the schemes are file, hdfs, s3`},
		{url: "file:///ckptx", kind: storage.ErrRefused, text: "refused: directory file:///ckptx is not below an allowed root (file:///ckpt, s3://bucket/a, s3://bucket/a/b, hdfs://nn:8020); name one below it, or add a root to storage.allowed-roots on every node"},
		{url: "file:///", kind: storage.ErrRefused, text: "is not below an allowed root"},
		{url: "s3://bucket", kind: storage.ErrRefused, text: "is not below an allowed root"},
		{url: "s3://other/a", kind: storage.ErrRefused, text: "is not below an allowed root"},
		{url: "hdfs://nn:9000/x", kind: storage.ErrRefused, text: "is not below an allowed root"},
	} {
		t.Run(c.url, func(t *testing.T) {
			root, _, err := r.Check(c.url)
			if c.kind == nil {
				if err != nil || root.String() != c.root {
					t.Errorf("root %s, %v; want %s", root, err, c.root)
				}
				return
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v\nwant %s", err, c.text)
			}
			if !storage.Permanent(err) {
				t.Error("the error is tried again")
			}
		})
	}
}

func TestRoots_None(t *testing.T) {
	r := storage.NewRegistry(storage.Roots{}, map[string]storage.Scheme{"file": nil})
	_, err := r.Open(t.Context(), "file:///x")
	if !errors.Is(err, storage.ErrRefused) || err.Error() != "refused: directory file:///x: this node allows no directory; set storage.allowed-roots on every node" {
		t.Errorf("error %v", err)
	}
}

func TestHandle_Inline(t *testing.T) {
	s := newFiles(t)
	for _, c := range []struct {
		s      storage.Storage
		size   int
		inline bool
	}{
		{s, 0, true},
		{s, storage.DefaultInlineThreshold, true},
		{s, storage.DefaultInlineThreshold + 1, false},
		{s, 1 << 20, false},
		{storage.NewJobManager(0), 1 << 20, true},
		{storage.Sub(storagetest.New(storage.NewJobManager(0)), "job"), storage.DefaultMaxInline, true},
	} {
		contents := storagetest.Contents(1, c.size)
		h, err := storage.PutHandle(t.Context(), c.s, "chk-1/f", storage.DefaultInlineThreshold, storage.NoRetry, func(w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader(contents))
			return err
		})
		if err != nil {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
		if (h.File == nil) != c.inline || h.Size() != int64(c.size) {
			t.Errorf("%d bytes: handle of %d bytes, inline %v", c.size, h.Size(), h.File == nil)
		}
		again, err := storage.HandleOf(h.Proto())
		if err != nil {
			t.Fatal(err)
		}
		got, err := storage.ReadAll(t.Context(), c.s, again)
		if err != nil || !bytes.Equal(got, contents) {
			t.Errorf("%d bytes: read %d, %v", c.size, len(got), err)
		}
		at, err := storage.OpenAt(t.Context(), c.s, again)
		if err != nil || at.Size() != int64(c.size) {
			t.Errorf("%d bytes: random access: %v", c.size, err)
		}
	}
}

func TestHandle_BeyondJobManager(t *testing.T) {
	w := storage.CreateHandle(t.Context(), storage.NewJobManager(1000), "chk-1/f", storage.DefaultInlineThreshold)
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Write([]byte{0})
	want := "write jobmanager: the snapshot chk-1/f has more than 1000 bytes, the most that this storage takes; set execution.checkpointing.dir to a directory of files"
	if !errors.Is(err, storage.ErrTooLarge) || !storage.Permanent(err) || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestJobManager_TakesNoFiles(t *testing.T) {
	s := storage.NewJobManager(0)
	_, err := storage.Create(t.Context(), s, "f")
	if !errors.Is(err, storage.ErrNoFiles) {
		t.Errorf("create: %v", err)
	}
	_, err = s.Open(t.Context(), "f", 0, -1)
	if !errors.Is(err, storage.ErrNoFiles) {
		t.Errorf("open: %v", err)
	}
	if err := storage.Probe(t.Context(), s); err != nil {
		t.Errorf("probe: %v", err)
	}
	if err := errors.Join(s.Delete(t.Context(), "f"), s.DeleteAll(t.Context(), ""), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestHandleOf_Refuses(t *testing.T) {
	hash := make([]byte, 32)
	file := func(path string, size uint64, hash []byte) *holdfastv1.Content {
		return &holdfastv1.Content{Handle: &holdfastv1.Content_File{File: &holdfastv1.FileHandle{Path: path, Size: size, Sha256: hash}}}
	}
	for name, h := range map[string]*holdfastv1.Content{
		"nil": nil, "empty": {}, "no file": {Handle: &holdfastv1.Content_File{}},
		"dots": file("../x", 1, hash), "absolute": file("/x", 1, hash), "size": file("x", 1<<63, hash), "hash": file("x", 1, hash[1:]),
	} {
		if h, err := storage.HandleOf(h); err == nil {
			t.Errorf("%s: taken as %+v", name, h)
		}
	}
}

func TestNames_Layout(t *testing.T) {
	if d := storage.CheckpointDir(12); d != "chk-12" {
		t.Errorf("directory %q", d)
	}
}

// A storage that is slow, and a caller that waits no longer.
func TestPut_ContextEndsTheRetries(t *testing.T) {
	f := storagetest.New(newFiles(t))
	defer f.Inject(storagetest.Outage())()
	_, err := storage.Put(t.Context(), f, "f", storage.NoRetry, func(io.Writer) error { return nil })
	if !errors.Is(err, storage.ErrUnavailable) || storage.Permanent(err) {
		t.Errorf("put during an outage: %v", err)
	}
	if n := f.Calls(storagetest.OpCreate); n != 1 {
		t.Errorf("tried %d times", n)
	}
}
