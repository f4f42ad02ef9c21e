package canonical

import (
	"context"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// File is a Reader of a handle.
type File struct {
	*Reader
	at *storage.ReaderAt
}

// Open reads trailer, header and index of the contents of a handle. Errors name its
// file. The caller closes it; iterators must be done.
func Open(ctx context.Context, s storage.Storage, h storage.Handle) (*File, error) {
	at, err := storage.OpenAt(ctx, s, h)
	if err != nil {
		return nil, err
	}
	url := s.URL() + " (inline)"
	if h.File != nil {
		url = storage.JoinURL(s.URL(), h.File.Path)
	}
	r, err := newReader(at, at.Size(), url)
	if err != nil {
		_ = at.Close() // it was only read
		return nil, err
	}
	return &File{Reader: r, at: at}, nil
}

// Close lets go of the contents.
func (f *File) Close() error { return f.at.Close() }
