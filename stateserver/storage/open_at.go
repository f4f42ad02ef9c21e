package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// skipAhead is up to which distance a ReaderAt reads on in its stream and throws
// away, rather than asking for another range: about what a request costs.
const skipAhead = 256 << 10

// ReaderAt is random access to the contents of a handle. It checks size and tail but
// no hash: it is for contents that check their own parts. Reads in rising order share
// one stream, so that going through a file in blocks is one request.
//
// It may be used concurrently, one read at a time.
type ReaderAt struct {
	ctx  context.Context
	s    Storage
	file FileHandle
	all  *bytes.Reader // of an inline handle

	mu     sync.Mutex
	stream io.ReadCloser // nil: none is open
	at     int64         // where stream is
}

// OpenAt opens the contents of a handle for random access. ErrCorrupt if the file
// does not have the size of the handle, or does not end as it says.
func OpenAt(ctx context.Context, s Storage, h Handle) (*ReaderAt, error) {
	if h.File == nil {
		return &ReaderAt{all: bytes.NewReader(h.Inline)}, nil
	}
	info, err := s.Stat(ctx, h.File.Path)
	if err != nil {
		return nil, err
	}
	if info.Size != h.File.Size {
		return nil, corrupt(JoinURL(s.URL(), h.File.Path), "it has %d bytes, and should have %d", info.Size, h.File.Size)
	}
	r := &ReaderAt{ctx: ctx, s: s, file: *h.File}
	if err := r.checkTail(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *ReaderAt) checkTail() error {
	tail := r.file.Tail
	if tail == "" {
		return nil
	}
	in, err := r.s.Open(r.ctx, r.file.Path, r.file.Size-int64(len(tail)), int64(len(tail)))
	if err != nil {
		return err
	}
	defer in.Close()
	got, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if string(got) != tail {
		return corrupt(JoinURL(r.s.URL(), r.file.Path), "it ends otherwise than what was written: it is damaged or another file")
	}
	return nil
}

// Size is the number of bytes.
func (r *ReaderAt) Size() int64 {
	if r.all != nil {
		return r.all.Size()
	}
	return r.file.Size
}

// ReadAt is io.ReaderAt's.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if r.all != nil {
		return r.all.ReadAt(p, off)
	}
	if off < 0 {
		return 0, fmt.Errorf("read %s at %d: a negative offset", r.file.Path, off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := off - (r.file.Size - int64(len(r.file.Tail))); i >= 0 && i < int64(len(r.file.Tail)) {
		return tailAt(p, r.file.Tail[i:])
	}
	want := min(int64(len(p)), max(0, r.file.Size-off))
	n, err := r.read(p[:want], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// tailAt is a read that needs no request.
func tailAt(p []byte, tail string) (int, error) {
	n := copy(p, tail)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read fills p, which lies within the file. Caller holds mu.
func (r *ReaderAt) read(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.seek(off); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.stream, p)
	r.at += int64(n)
	if err == nil {
		return n, nil
	}
	r.drop()
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = corrupt(JoinURL(r.s.URL(), r.file.Path), "it ends at %d of %d bytes", off+int64(n), r.file.Size)
	}
	return n, err
}

// seek puts the stream at off: further in the same one, or with a new one.
func (r *ReaderAt) seek(off int64) error {
	if r.stream != nil && r.at <= off && off-r.at <= skipAhead {
		n, err := io.CopyN(io.Discard, r.stream, off-r.at)
		r.at += n
		if err == nil {
			return nil
		}
	}
	r.drop()
	stream, err := r.s.Open(r.ctx, r.file.Path, off, -1)
	if err != nil {
		return err
	}
	r.stream, r.at = stream, off
	return nil
}

func (r *ReaderAt) drop() {
	if r.stream != nil {
		_ = r.stream.Close() // it was only read
		r.stream = nil
	}
}

// Close lets go of the stream.
func (r *ReaderAt) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	return nil
}
