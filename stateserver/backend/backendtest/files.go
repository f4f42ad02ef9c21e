package backendtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Files is checkpoint storage in memory. It implements [backend.Files].
type Files struct {
	// Inline puts files up to this size into their handles, in bytes.
	Inline int
	// FailWrites makes every write fail with it, if set.
	FailWrites error

	mu      sync.Mutex
	next    int
	content map[string][]byte
	written int64
}

// NewFiles returns an empty storage.
func NewFiles() *Files { return &Files{content: map[string][]byte{}} }

// Written is the number of bytes that were committed.
func (f *Files) Written() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

// Create implements [backend.Files].
func (f *Files) Create(ctx context.Context, name, format string, shared bool) (backend.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	dir := "chk"
	if shared {
		dir = "shared"
	}
	return &fileWriter{f: f, h: &holdfastv1.StateHandle{File: fmt.Sprintf("%s/%d-%s", dir, f.next, name), Name: name, Format: format}}, nil
}

type fileWriter struct {
	f    *Files
	h    *holdfastv1.StateHandle
	data []byte
	done bool
}

// Write implements io.Writer.
func (w *fileWriter) Write(b []byte) (int, error) {
	if w.f.FailWrites != nil {
		return 0, w.f.FailWrites
	}
	w.data = append(w.data, b...)
	return len(b), nil
}

// Commit implements [backend.Writer].
func (w *fileWriter) Commit() (*holdfastv1.StateHandle, error) {
	if w.done {
		return nil, errors.New("Commit after the end of a file")
	}
	w.done = true
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.h.Size = uint64(len(w.data))
	w.f.written += int64(len(w.data))
	if len(w.data) <= w.f.Inline {
		w.h.File, w.h.Inline = "", w.data
		return w.h, nil
	}
	sum := sha256.Sum256(w.data)
	w.h.Sha256 = sum[:]
	w.f.content[w.h.File] = w.data
	return w.h, nil
}

// Abort implements [backend.Writer].
func (w *fileWriter) Abort() { w.done = true }

// Open implements [backend.Files].
func (f *Files) Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.File == "" {
		return io.NopCloser(bytes.NewReader(h.Inline)), nil
	}
	data, ok := f.content[h.File]
	if !ok {
		return nil, fmt.Errorf("%s does not exist", h.File)
	}
	return &fileReader{h: h, r: bytes.NewReader(data), sum: sha256.Sum256(data), size: uint64(len(data))}, nil
}

// fileReader fails at its end where size or hash are not those of the handle.
type fileReader struct {
	h    *holdfastv1.StateHandle
	r    *bytes.Reader
	sum  [sha256.Size]byte
	size uint64
}

// Read implements io.Reader.
func (r *fileReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if errors.Is(err, io.EOF) && (r.size != r.h.Size || !bytes.Equal(r.sum[:], r.h.Sha256)) {
		return n, fmt.Errorf("%s is not what was written", r.h.File)
	}
	return n, err
}

// Close implements io.Closer.
func (r *fileReader) Close() error { return nil }

// change replaces the content of a file; nil: it is gone.
func (f *Files) change(name string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if content == nil {
		delete(f.content, name)
		return
	}
	f.content[name] = content
}

func (f *Files) read(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.content[name]
}
