package storage

import (
	"context"
	"io"
	"iter"
	"time"
)

// Storage is one directory of files. Names are relative to it, with slashes, as
// CheckName allows them; "" is the directory itself where a directory is asked
// for.
//
// All methods may be called concurrently, and by several processes.
//
// # Consistency
//
// A file that was committed is seen by every later Open, Stat and List of every
// process; a file that was deleted by none. Files are never changed: Create of a
// name that exists replaces the file as a whole.
//
// # Errors
//
// Each error is an *Error that names the operation and the full URL, of a kind
// of errors.go. A context that ends ends the operation with its error.
type Storage interface {
	// URL names the directory in messages and manifests, as in s3://bucket/prefix.
	URL() string

	// Create begins a file. Directories on the way are made. The file is invisible
	// until Commit; ctx ends the whole writing, not only this call.
	//
	// ErrAccessDenied, ErrNoSpace, ErrUnavailable; ErrNoFiles where a storage
	// takes none.
	Create(ctx context.Context, name string) (Writer, error)

	// Open reads length bytes from offset on; a negative length means to the end.
	// A range beyond the end is an error of kind ErrCorrupt, from Open or as late
	// as the read that meets the end. ctx ends the whole reading.
	//
	// ErrNotFound.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)

	// Stat tells of a committed file. ErrNotFound, also for a directory.
	Stat(ctx context.Context, name string) (FileInfo, error)

	// List yields the committed files below dir, in all depths, in no order, with
	// their names relative to the storage. A directory that does not exist has
	// none. After an error nothing follows.
	List(ctx context.Context, dir string) iter.Seq2[FileInfo, error]

	// Delete removes a file. One that does not exist is no error.
	Delete(ctx context.Context, name string) error

	// DeleteAll removes everything below dir, unfinished files too, and dir itself
	// where directories exist. A directory that does not exist is no error. Nobody
	// may write below dir meanwhile.
	DeleteAll(ctx context.Context, dir string) error

	// DeleteUnfinished removes what writers that are gone left below dir: unfinished
	// files last written before the given time, by the clock of the storage. It
	// tells how many.
	DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error)

	// Close lets go of connections. Writers and readers must be done.
	Close() error
}

// Writer writes one file. It is used by one goroutine at a time, and ended by
// Commit or Abort, once.
type Writer interface {
	io.Writer

	// Commit makes the file durable, then visible. After an error it is unknown
	// whether the file is visible; if so, it is complete.
	Commit() error

	// Abort gives the file up. After Commit it does nothing, so that it can be
	// deferred.
	Abort() error
}

// FileInfo describes a committed file.
type FileInfo struct {
	Name     string    // relative to the storage
	Size     int64     // bytes
	Modified time.Time // when it was written, by the clock of the storage
}
