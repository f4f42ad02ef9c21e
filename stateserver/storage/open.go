package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Open reads the contents of a handle and checks them as they go. Nothing of them
// may be trusted before the reader has returned io.EOF: where size or hash are not
// those of the handle it returns an error of kind ErrCorrupt in its place.
func Open(ctx context.Context, s Storage, h Handle) (io.ReadCloser, error) {
	if h.File == nil {
		return io.NopCloser(bytes.NewReader(h.Inline)), nil
	}
	r, err := s.Open(ctx, h.File.Path, 0, -1)
	if err != nil {
		return nil, err
	}
	return &checkedReader{r: r, url: JoinURL(s.URL(), h.File.Path), want: *h.File, hash: sha256.New()}, nil
}

// ReadAll is the checked contents of a handle.
func ReadAll(ctx context.Context, s Storage, h Handle) ([]byte, error) {
	if h.File == nil {
		return h.Inline, nil
	}
	r, err := Open(ctx, s, h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// checkedReader hashes what it reads, and judges at the end.
type checkedReader struct {
	r    io.ReadCloser
	url  string
	want FileHandle
	size int64
	hash hash.Hash
	err  error // sticks: an error of the end stays one
}

func (c *checkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.size += int64(n)
	switch {
	case errors.Is(err, io.EOF) || c.size > c.want.Size:
		c.err = c.judge()
	case err != nil:
		c.err = err
	}
	return n, c.err
}

func (c *checkedReader) Close() error { return c.r.Close() }

func corrupt(url, format string, args ...any) error {
	return &Error{Op: "read", URL: url, Kind: ErrCorrupt, Err: fmt.Errorf(format, args...)}
}
