package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
)

// DefaultWorkers is how many files are transferred at a time.
const DefaultWorkers = 4

// TransferConfig bounds a transfer. The zero value has the defaults.
type TransferConfig struct {
	Workers int // files at a time; 0: DefaultWorkers
	Retry   RetryPolicy
}

func (t TransferConfig) workers() int {
	if t.Workers > 0 {
		return t.Workers
	}
	return DefaultWorkers
}

// Upload is a local file and its name in the storage.
type Upload struct {
	Local string
	Name  string
}

// Download is a handle and the local file that it becomes.
type Download struct {
	Handle Handle
	Local  string
}

// UploadAll writes local files to the storage and gives their handles, in the order
// of files. The first file that fails for good ends the others; files that were
// committed by then stay, and are the caller's to delete.
func UploadAll(ctx context.Context, s Storage, files []Upload, t TransferConfig) ([]FileHandle, error) {
	handles := make([]FileHandle, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.workers())
	for i, f := range files {
		g.Go(func() error {
			h, err := Put(ctx, s, f.Name, t.Retry, func(w io.Writer) error { return copyFrom(w, f.Local) })
			handles[i] = h
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return handles, nil
}

func copyFrom(w io.Writer, local string) error {
	in, err := os.Open(local)
	if err != nil {
		return localError("read", local, err)
	}
	defer in.Close()
	// The reader is hidden behind the plain interface, so that an error is known to
	// be the storage's: those of the local file are wrapped.
	_, err = io.Copy(w, &localReader{in: in, name: local})
	return err
}

type localReader struct {
	in   io.Reader
	name string
}

func (l *localReader) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = localError("read", l.name, err)
	}
	return n, err
}

// DownloadAll writes the contents of handles to local files, checked as Open does.
// A local file exists under its name only if its contents are right; it is not
// synced, for it can be downloaded again. The first one that fails for good ends
// the others.
func DownloadAll(ctx context.Context, s Storage, files []Download, t TransferConfig) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.workers())
	for _, f := range files {
		g.Go(func() error {
			_, err := retry(ctx, t.Retry, func() (struct{}, error) { return struct{}{}, download(ctx, s, f) })
			return err
		})
	}
	return g.Wait()
}

func download(ctx context.Context, s Storage, f Download) (err error) {
	temp := f.Local + ".tmp"
	out, err := os.Create(temp)
	if err != nil {
		return localError("write", f.Local, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // nothing more can be done about it
		}
	}()
	err = copyTo(ctx, out, s, f)
	if closing := out.Close(); err == nil && closing != nil {
		err = localError("write", f.Local, closing)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp, f.Local); err != nil {
		return localError("write", f.Local, err)
	}
	return nil
}

func copyTo(ctx context.Context, out *os.File, s Storage, f Download) error {
	in, err := Open(ctx, s, f.Handle)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(struct{ io.Writer }{out}, in)
	var pe *os.PathError
	if errors.As(err, &pe) {
		return localError("write", f.Local, err)
	}
	return err
}

// localError is one of the node's own disk.
func localError(op, name string, err error) error {
	e := &Error{Op: op + " the local file", URL: name, Kind: OSKind(err), Err: err}
	var pe *os.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err
	}
	if errors.Is(e.Kind, ErrNoSpace) {
		e.Remedy = fmt.Sprintf("free space on the disk of %s", name)
	}
	return e
}
