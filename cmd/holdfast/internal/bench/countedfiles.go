package bench

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
)

// openStorage is the checkpoint storage of a directory, as a node opens it.
func openStorage(ctx context.Context, dir string) (storage.Storage, *storage.Registry, error) {
	url := "file://" + dir
	roots, err := storage.ParseRoots([]string{url})
	if err != nil {
		return nil, nil, err
	}
	r := storage.NewRegistry(roots, map[string]storage.Scheme{"file": file.Scheme{}})
	s, err := r.Open(ctx, url)
	return s, r, err
}

// countedFiles is that storage as a backend sees it. It counts what is written.
type countedFiles struct {
	s       storage.Storage
	next    atomic.Int64
	written atomic.Int64
}

// Create implements [backend.Files].
func (f *countedFiles) Create(ctx context.Context, name, format string, _ bool) (backend.Writer, error) {
	w, err := storage.Create(ctx, f.s, fmt.Sprintf("shared/%d-%s", f.next.Add(1), name))
	return &countedWriter{w, f, &holdfastv1.StateHandle{Name: name, Format: format}}, err
}

// Open implements [backend.Files].
func (f *countedFiles) Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	handle, err := storage.HandleOf(&holdfastv1.Content{Handle: &holdfastv1.Content_File{
		File: &holdfastv1.FileHandle{Path: h.File, Size: h.Size, Sha256: h.Sha256},
	}})
	if err != nil {
		return nil, err
	}
	return storage.Open(ctx, f.s, handle)
}

type countedWriter struct {
	*storage.FileWriter
	f *countedFiles
	h *holdfastv1.StateHandle
}

// Commit implements [backend.Writer].
func (w *countedWriter) Commit() (*holdfastv1.StateHandle, error) {
	f, err := w.FileWriter.Commit()
	w.f.written.Add(f.Size)
	w.h.File, w.h.Size, w.h.Sha256 = f.Path, uint64(f.Size), f.SHA256[:]
	return w.h, err
}

// Abort implements [backend.Writer].
func (w *countedWriter) Abort() { _ = w.FileWriter.Abort() } // the directory goes with the measurement
