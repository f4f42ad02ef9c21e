package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// writer writes beside the file's place, under a name that nobody lists.
type writer struct {
	ctx        context.Context
	f          *files
	name       string
	temp, dest string // below root
	file       *os.File
	done       bool
}

// Create begins a file.
func (f *files) Create(ctx context.Context, name string) (storage.Writer, error) {
	if err := f.checkFile("write", name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, f.wrap("write", name, err)
	}
	dest := f.at(name)
	temp := unfinished(dest)
	file, err := f.createIn(path.Dir(dest), temp)
	if err != nil {
		return nil, f.wrap("write", name, err)
	}
	return &writer{ctx: ctx, f: f, name: name, temp: temp, dest: dest, file: file}, nil
}

// createIn makes the file temp in dir, and dir first where it is not there. A
// directory is made again if somebody deleted it meanwhile.
func (f *files) createIn(dir, temp string) (*os.File, error) {
	const mode = 0o640
	if f.isDurable(dir) {
		file, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	if err := f.makeDir(dir); err != nil {
		return nil, err
	}
	return f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// makeDir makes dir and syncs it and all above it up to the root: what another
// process has just made may not be durable yet.
func (f *files) makeDir(dir string) error {
	if err := f.root.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for p := dir; p != "."; p = path.Dir(p) {
		if err := f.syncDir(path.Dir(p)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.durable[dir] = true
	f.mu.Unlock()
	return nil
}

func (f *files) isDurable(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable[dir]
}

// forget is called when dir is deleted.
func (f *files) forget(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := range f.durable {
		if d == dir || dir == "." || strings.HasPrefix(d, dir+"/") {
			delete(f.durable, d)
		}
	}
}

func (f *files) syncDir(dir string) error {
	if f.noFsync {
		return nil
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, w.f.wrap("write", w.name, err)
	}
	n, err := w.file.Write(p)
	return n, w.f.wrap("write", w.name, err)
}

// Commit syncs, renames, and syncs the directory.
func (w *writer) Commit() error {
	if w.done {
		return w.f.wrap("commit", w.name, os.ErrClosed)
	}
	w.done = true
	err := w.ctx.Err()
	if err == nil && !w.f.noFsync {
		err = w.file.Sync()
	}
	// Some file systems tell only at close that there is no space.
	err = errors.Join(err, w.file.Close())
	if err == nil {
		err = w.f.root.Rename(w.temp, w.dest)
	}
	if err != nil {
		_ = w.f.root.Remove(w.temp) // best effort: DeleteUnfinished finds it
		return w.f.wrap("commit", w.name, err)
	}
	return w.f.wrap("commit", w.name, w.f.syncDir(path.Dir(w.dest)))
}

// Abort removes what was written.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	err := errors.Join(w.file.Close(), w.f.root.Remove(w.temp))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // its directory was deleted
	}
	return w.f.wrap("abort", w.name, err)
}
