package stateserver

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// stores keeps the checkpoint directories that jobs of this node use open.
type stores struct {
	registry *storage.Registry // nil: this node has no directories

	mu   sync.Mutex
	open map[string]*store
}

// store is one directory. Who comes while it is being opened waits for that one, and
// nobody for another: a server that is away may take its time.
type store struct {
	opened chan struct{}
	st     storage.Storage
	err    error
}

func newStores(r *storage.Registry) *stores {
	return &stores{registry: r, open: map[string]*store{}}
}

// dir opens a directory by its URL.
func (s *stores) dir(ctx context.Context, url string) (storage.Storage, error) {
	if s.registry == nil {
		return nil, fmt.Errorf("%w: this node has no checkpoint storage configured, and the job has %s", storage.ErrRefused, url)
	}
	s.mu.Lock()
	o := s.open[url]
	if o == nil {
		o = &store{opened: make(chan struct{})}
		s.open[url] = o
		go s.connect(context.WithoutCancel(ctx), url, o)
	}
	s.mu.Unlock()
	select {
	case <-o.opened:
		return o.st, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect opens a directory for all who wait for it; one that failed is forgotten.
func (s *stores) connect(ctx context.Context, url string, o *store) {
	o.st, o.err = s.registry.Open(ctx, url)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[url] != o { // closed meanwhile
		if o.err == nil {
			_ = o.st.Close()
		}
		o.st, o.err = nil, storage.ErrUnavailable
	} else if o.err != nil {
		delete(s.open, url)
	}
	close(o.opened)
}

func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		select {
		case <-o.opened:
			_ = o.st.Close() // nothing waits for it any more
		default: // connect closes it
		}
	}
	clear(s.open)
}

// filesOf gives the checkpoint storage of a job as one subtask sees it in one
// checkpoint, 0 being the end of the subtask.
func (m *hostStates) filesOf(ctx context.Context, jobID string, subtask uint64, c *holdfastv1.CheckpointConfig, token, checkpoint uint64) (*files, error) {
	f := &files{prefix: coordinator.FilePrefix(token, checkpoint, subtask), checkpoint: checkpoint, threshold: int64(c.GetInlineThreshold())}
	if c.GetStorage() != holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM {
		f.s = storage.NewJobManager(coordinator.MaxInlineBytes)
		return f, nil
	}
	dir, err := m.stores.dir(ctx, c.Directory)
	if err != nil {
		return nil, err
	}
	f.s = storage.WithRetry(storage.Sub(dir, jobID), storage.DefaultRetry)
	return f, nil
}

// files implements [backend.Files].
type files struct {
	s          storage.Storage
	prefix     string
	checkpoint uint64
	threshold  int64
}

// Create implements [backend.Files].
func (f *files) Create(ctx context.Context, name, format string, shared bool) (backend.Writer, error) {
	dir := coordinator.SharedDir
	if !shared && f.checkpoint != 0 {
		dir = coordinator.CheckpointDir(f.checkpoint)
	}
	path := dir + f.prefix + name
	if err := storage.CheckName(path); err != nil {
		return nil, fmt.Errorf("a file of the state backend: %w", err)
	}
	return &handleWriter{w: storage.CreateHandle(ctx, f.s, path, f.threshold), h: &holdfastv1.StateHandle{Name: name, Format: format}}, nil
}

// Open implements [backend.Files].
func (f *files) Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	if h.File == "" {
		return io.NopCloser(strings.NewReader(string(h.Inline))), nil
	}
	handle, err := fileHandle(h)
	if err != nil {
		return nil, err
	}
	return storage.Open(ctx, f.s, handle)
}

func fileHandle(h *holdfastv1.StateHandle) (storage.Handle, error) {
	out, err := storage.HandleOf(&holdfastv1.Content{Handle: &holdfastv1.Content_File{
		File: &holdfastv1.FileHandle{Path: h.File, Size: h.Size, Sha256: h.Sha256},
	}})
	if err != nil {
		return out, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	return out, nil
}

// handleWriter implements [backend.Writer].
type handleWriter struct {
	w *storage.HandleWriter
	h *holdfastv1.StateHandle
}

// Write implements io.Writer.
func (w *handleWriter) Write(b []byte) (int, error) { return w.w.Write(b) }

// Commit implements [backend.Writer].
func (w *handleWriter) Commit() (*holdfastv1.StateHandle, error) {
	h, err := w.w.Commit()
	if err != nil {
		return nil, err
	}
	w.h.Size = uint64(h.Size())
	if h.File == nil {
		w.h.Inline = h.Inline
		return w.h, nil
	}
	w.h.File, w.h.Sha256 = h.File.Path, h.File.SHA256[:]
	return w.h, nil
}

// Abort implements [backend.Writer].
func (w *handleWriter) Abort() { _ = w.w.Abort() } // what is left is collected by age
