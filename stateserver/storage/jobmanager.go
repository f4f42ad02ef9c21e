package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// jobManager is the storage that takes no files.
type jobManager struct{ max int64 }

// NewJobManager is Flink's JobManagerCheckpointStorage: no files; the handles carry
// the bytes, at most maxInline each (DefaultMaxInline where it is 0 or less).
func NewJobManager(maxInline int64) Storage {
	if maxInline <= 0 {
		maxInline = DefaultMaxInline
	}
	return jobManager{max: maxInline}
}

func (j jobManager) MaxInline() int64 { return j.max }

func (jobManager) URL() string { return "jobmanager" }

func (j jobManager) refuse(op, name string) error {
	return &Error{
		Op: op, URL: JoinURL(j.URL(), name), Kind: ErrNoFiles, Err: errors.New("the storage jobmanager takes no files"),
		Remedy: "set execution.checkpointing.dir to a directory of files",
	}
}

func (j jobManager) Create(_ context.Context, name string) (Writer, error) {
	return nil, j.refuse("write", name)
}

func (j jobManager) Open(_ context.Context, name string, _, _ int64) (io.ReadCloser, error) {
	return nil, j.refuse("read", name)
}

func (j jobManager) Stat(_ context.Context, name string) (FileInfo, error) {
	return FileInfo{}, &Error{Op: "stat", URL: JoinURL(j.URL(), name), Kind: ErrNotFound}
}

func (jobManager) List(context.Context, string) iter.Seq2[FileInfo, error] {
	return func(func(FileInfo, error) bool) {}
}

func (jobManager) Delete(context.Context, string) error { return nil }

func (jobManager) DeleteAll(context.Context, string) error { return nil }

func (jobManager) DeleteUnfinished(context.Context, string, time.Time) (int, error) { return 0, nil }

func (jobManager) Close() error { return nil }

// InlineOnly is a Storage that takes no files.
type InlineOnly interface {
	// MaxInline is the most bytes of one handle.
	MaxInline() int64
}

// Wrapper is a Storage in front of another.
type Wrapper interface {
	// Unwrap is the storage behind it.
	Unwrap() Storage
}

// maxInlineOf is the limit of a storage that takes no files, and 0 of any other.
func maxInlineOf(s Storage) int64 {
	for {
		if i, ok := s.(InlineOnly); ok {
			return i.MaxInline()
		}
		w, ok := s.(Wrapper)
		if !ok {
			return 0
		}
		s = w.Unwrap()
	}
}
