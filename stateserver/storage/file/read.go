package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Open reads a range.
func (f *files) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := f.checkFile("read", name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, f.wrap("read", name, err)
	}
	file, err := f.root.Open(f.at(name))
	if err != nil {
		return nil, f.wrap("read", name, err)
	}
	r, err := f.ranged(ctx, file, name, offset, length)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return r, nil
}

func (f *files) ranged(ctx context.Context, file *os.File, name string, offset, length int64) (io.ReadCloser, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, f.wrap("read", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, f.wrap("read", name, fs.ErrNotExist)
	}
	length, err = storage.CheckRange(storage.JoinURL(f.url, name), info.Size(), offset, length)
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, f: f, name: name, file: file, in: io.NewSectionReader(file, offset, length)}, nil
}

type reader struct {
	ctx  context.Context
	f    *files
	name string
	file *os.File
	in   *io.SectionReader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.f.wrap("read", r.name, err)
	}
	n, err := r.in.Read(p)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, r.f.wrap("read", r.name, err)
}

func (r *reader) Close() error { return r.file.Close() }

// Stat tells of a file.
func (f *files) Stat(ctx context.Context, name string) (storage.FileInfo, error) {
	if err := f.checkFile("stat", name); err != nil {
		return storage.FileInfo{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.FileInfo{}, f.wrap("stat", name, err)
	}
	info, err := f.root.Stat(f.at(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return storage.FileInfo{}, f.wrap("stat", name, err)
	}
	return storage.FileInfo{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List yields the files below dir.
func (f *files) List(ctx context.Context, dir string) iter.Seq2[storage.FileInfo, error] {
	return func(yield func(storage.FileInfo, error) bool) {
		err := f.walk(ctx, "list", dir, func(info storage.FileInfo, temporary bool) (bool, error) {
			return temporary || yield(info, nil), nil
		})
		if err != nil {
			yield(storage.FileInfo{}, err)
		}
	}
}

// walk visits the regular files below dir until visit says false. What vanishes
// meanwhile is left out.
func (f *files) walk(ctx context.Context, op, dir string, visit func(info storage.FileInfo, temporary bool) (bool, error)) error {
	if err := f.checkSub(op, dir); err != nil {
		return err
	}
	dirs := []string{dir}
	for len(dirs) > 0 {
		d := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		if err := ctx.Err(); err != nil {
			return f.wrap(op, d, err)
		}
		entries, err := f.readDir(d)
		if err != nil {
			return f.wrap(op, d, err)
		}
		for _, e := range entries {
			name, temporary := path.Join(d, e.Name()), strings.HasPrefix(e.Name(), tempPrefix)
			if e.IsDir() {
				dirs = append(dirs, name)
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
				continue
			}
			if err != nil {
				return f.wrap(op, name, err)
			}
			more, err := visit(storage.FileInfo{Name: name, Size: info.Size(), Modified: info.ModTime()}, temporary)
			if err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// readDir lists one directory; one that is not there is empty.
func (f *files) readDir(dir string) ([]fs.DirEntry, error) {
	d, err := f.root.Open(f.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// Delete removes a file, durably.
func (f *files) Delete(ctx context.Context, name string) error {
	if err := f.checkFile("delete", name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return f.wrap("delete", name, err)
	}
	err := f.root.Remove(f.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.syncDir(path.Dir(f.at(name)))
	}
	return f.wrap("delete", name, err)
}

// DeleteAll removes a directory.
func (f *files) DeleteAll(ctx context.Context, dir string) error {
	if err := f.checkSub("delete", dir); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return f.wrap("delete", dir, err)
	}
	at := f.at(dir)
	defer f.forget(at)
	if at == "." {
		return f.wrap("delete", dir, f.removeEntries())
	}
	if err := f.root.RemoveAll(at); err != nil {
		return f.wrap("delete", dir, err)
	}
	err := f.syncDir(path.Dir(at))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return f.wrap("delete", dir, err)
}

// removeEntries empties the root, which itself stays: it is the operator's.
func (f *files) removeEntries() error {
	entries, err := f.readDir("")
	for _, e := range entries {
		err = errors.Join(err, f.root.RemoveAll(e.Name()))
	}
	return errors.Join(err, f.syncDir("."))
}

// DeleteUnfinished removes files of writers that are gone.
func (f *files) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	deleted := 0
	err := f.walk(ctx, "delete unfinished files of", dir, func(info storage.FileInfo, temporary bool) (bool, error) {
		if !temporary || !info.Modified.Before(before) {
			return true, nil
		}
		err := f.root.Remove(f.at(info.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err == nil {
			deleted++
		}
		return true, f.wrap("delete", info.Name, err)
	})
	return deleted, err
}
