package storage

import (
	"context"
	"crypto/sha256"
	"hash"
)

// FileWriter writes one file and computes what its handle tells of it. It is used
// by one goroutine at a time.
type FileWriter struct {
	w    Writer
	name string
	size int64
	hash hash.Hash
	tail []byte // the last tailSize bytes
}

// Create begins a file, as Storage.Create does.
func Create(ctx context.Context, s Storage, name string) (*FileWriter, error) {
	w, err := s.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &FileWriter{w: w, name: name, hash: sha256.New()}, nil
}

// Write appends.
func (f *FileWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.hash.Write(p[:n])
	f.size += int64(n)
	f.keepTail(p[:n])
	return n, err
}

func (f *FileWriter) keepTail(p []byte) {
	if len(p) >= tailSize {
		f.tail = append(f.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	f.tail = append(f.tail, p...)
	if extra := len(f.tail) - tailSize; extra > 0 {
		f.tail = f.tail[:copy(f.tail, f.tail[extra:])]
	}
}

// Size is how many bytes were written.
func (f *FileWriter) Size() int64 { return f.size }

// Commit makes the file visible and gives its handle.
func (f *FileWriter) Commit() (FileHandle, error) {
	if err := f.w.Commit(); err != nil {
		return FileHandle{}, err
	}
	return FileHandle{Path: f.name, Size: f.size, SHA256: [sha256.Size]byte(f.hash.Sum(nil)), Tail: string(f.tail)}, nil
}

// Abort gives the file up. After Commit it does nothing.
func (f *FileWriter) Abort() error { return f.w.Abort() }
