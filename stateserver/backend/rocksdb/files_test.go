//go:build linux && !cgo && largestate

package rocksdb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"path/filepath"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// diskFiles is checkpoint storage in a directory, for states that are too large for
// one in memory.
type diskFiles struct{ dir string }

func (d *diskFiles) Create(_ context.Context, name, format string, _ bool) (backend.Writer, error) {
	f, err := os.Create(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	return &diskWriter{f: f, sum: sha256.New(), h: &holdfastv1.StateHandle{Name: name, Format: format, File: name}}, nil
}

func (d *diskFiles) Open(_ context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(d.dir, h.File))
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{bufio.NewReader(f), f}, nil
}

type diskWriter struct {
	f   *os.File
	sum hash.Hash
	h   *holdfastv1.StateHandle
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	_, _ = w.sum.Write(p[:n])
	w.h.Size += uint64(n)
	return n, err
}

func (w *diskWriter) Commit() (*holdfastv1.StateHandle, error) {
	w.h.Sha256 = w.sum.Sum(nil)
	return w.h, w.f.Close()
}

func (w *diskWriter) Abort() { _ = w.f.Close() }
