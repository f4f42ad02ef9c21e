package snapshots

import (
	"context"
	"io"
	"log/slog"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

var discard = slog.New(slog.DiscardHandler)

// testFiles is the directory of a job as a host gives it to a backend.
type testFiles struct {
	s      storage.Storage
	prefix string
}

func (f testFiles) Create(ctx context.Context, name, format string, shared bool) (backend.Writer, error) {
	dir := "chk-7/"
	if shared {
		dir = "shared/"
	}
	w, err := storage.Create(ctx, f.s, dir+f.prefix+name)
	return &testWriter{w, &holdfastv1.StateHandle{Name: name, Format: format}}, err
}

func (f testFiles) Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	return partFiles{f.s}.Open(ctx, h)
}

type testWriter struct {
	*storage.FileWriter
	h *holdfastv1.StateHandle
}

func (w *testWriter) Commit() (*holdfastv1.StateHandle, error) {
	f, err := w.FileWriter.Commit()
	w.h.File, w.h.Size, w.h.Sha256 = f.Path, uint64(f.Size), f.SHA256[:]
	return w.h, err
}

func (w *testWriter) Abort() { _ = w.FileWriter.Abort() }
