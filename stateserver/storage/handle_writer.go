package storage

import (
	"context"
	"fmt"
	"slices"
)

// HandleWriter writes the contents of one handle: they stay inline up to a
// threshold, beyond it they become a file. It is used by one goroutine at a time.
type HandleWriter struct {
	ctx       context.Context
	s         Storage
	name      string
	threshold int64
	maxInline int64 // of a storage without files; 0: it takes files
	inline    []byte
	file      *FileWriter
}

// CreateHandle begins a handle. The file, if there will be one, has the name.
// Where the storage takes no files, everything stays inline up to its own limit
// (ErrTooLarge beyond it).
func CreateHandle(ctx context.Context, s Storage, name string, threshold int64) *HandleWriter {
	return &HandleWriter{ctx: ctx, s: s, name: name, threshold: threshold, maxInline: maxInlineOf(s)}
}

// Write appends.
func (h *HandleWriter) Write(p []byte) (int, error) {
	if h.file != nil {
		return h.file.Write(p)
	}
	size := int64(len(h.inline)) + int64(len(p))
	switch {
	case h.maxInline > 0 && size > h.maxInline:
		return 0, &Error{
			Op: "write", URL: h.s.URL(), Kind: ErrTooLarge,
			Err:    fmt.Errorf("the snapshot %s has more than %d bytes, the most that this storage takes", h.name, h.maxInline),
			Remedy: "set execution.checkpointing.dir to a directory of files",
		}
	case h.maxInline > 0 || size <= h.threshold:
		h.inline = append(h.inline, p...)
		return len(p), nil
	}
	f, err := Create(h.ctx, h.s, h.name)
	if err != nil {
		return 0, err
	}
	h.file = f
	if _, err := f.Write(h.inline); err != nil {
		return 0, err
	}
	h.inline = nil
	return f.Write(p)
}

// Commit gives the handle; a file is durable and visible then.
func (h *HandleWriter) Commit() (Handle, error) {
	if h.file == nil {
		return Handle{Inline: slices.Clip(h.inline)}, nil
	}
	f, err := h.file.Commit()
	if err != nil {
		return Handle{}, err
	}
	return Handle{File: &f}, nil
}

// Abort gives it up. After Commit it does nothing.
func (h *HandleWriter) Abort() error {
	if h.file == nil {
		return nil
	}
	return h.file.Abort()
}
