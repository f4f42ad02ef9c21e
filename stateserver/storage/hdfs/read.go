package hdfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Open reads a range.
func (t *tree) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := t.checkFile("read", name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, t.wrap("read", name, err)
	}
	file, err := t.client.Open(t.at(name))
	if err != nil {
		return nil, t.wrap("read", name, err)
	}
	r, err := t.ranged(ctx, file, name, offset, length)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return r, nil
}

func (t *tree) ranged(ctx context.Context, file *hdfs.FileReader, name string, offset, length int64) (io.ReadCloser, error) {
	info := file.Stat()
	if info.IsDir() {
		return nil, t.wrap("read", name, fs.ErrNotExist)
	}
	length, err := storage.CheckRange(storage.JoinURL(t.url, name), info.Size(), offset, length)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, t.wrap("read", name, err)
	}
	return &reader{ctx: ctx, t: t, name: name, file: file, left: length}, nil
}

type reader struct {
	ctx  context.Context
	t    *tree
	name string
	file *hdfs.FileReader
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.t.wrap("read", r.name, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = io.ErrUnexpectedEOF // the file was replaced or the block is short
	}
	return n, r.t.wrap("read", r.name, err)
}

func (r *reader) Close() error { return r.file.Close() }

// Stat tells of a file.
func (t *tree) Stat(ctx context.Context, name string) (storage.FileInfo, error) {
	if err := t.checkFile("stat", name); err != nil {
		return storage.FileInfo{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.FileInfo{}, t.wrap("stat", name, err)
	}
	info, err := t.client.Stat(t.at(name))
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return storage.FileInfo{}, t.wrap("stat", name, err)
	}
	return storage.FileInfo{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List yields the files below dir.
func (t *tree) List(ctx context.Context, dir string) iter.Seq2[storage.FileInfo, error] {
	return func(yield func(storage.FileInfo, error) bool) {
		err := t.walk(ctx, "list", dir, func(info storage.FileInfo, temporary bool) (bool, error) {
			return temporary || yield(info, nil), nil
		})
		if err != nil {
			yield(storage.FileInfo{}, err)
		}
	}
}

// walk visits the files below dir until visit says false.
func (t *tree) walk(ctx context.Context, op, dir string, visit func(info storage.FileInfo, temporary bool) (bool, error)) error {
	if err := t.checkDir(op, dir); err != nil {
		return err
	}
	dirs := []string{dir}
	for len(dirs) > 0 {
		d := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		if err := ctx.Err(); err != nil {
			return t.wrap(op, d, err)
		}
		entries, err := t.client.ReadDir(t.at(d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t.wrap(op, d, err)
		}
		for _, e := range entries {
			name := path.Join(d, e.Name())
			if e.IsDir() {
				dirs = append(dirs, name)
				continue
			}
			info := storage.FileInfo{Name: name, Size: e.Size(), Modified: e.ModTime()}
			more, err := visit(info, strings.HasPrefix(e.Name(), tempPrefix))
			if err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// Delete removes a file.
func (t *tree) Delete(ctx context.Context, name string) error {
	if err := t.checkFile("delete", name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return t.wrap("delete", name, err)
	}
	err := t.client.Remove(t.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return t.wrap("delete", name, err)
}

// DeleteAll removes a directory.
func (t *tree) DeleteAll(ctx context.Context, dir string) error {
	if err := t.checkDir("delete", dir); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return t.wrap("delete", dir, err)
	}
	at := t.at(dir)
	if at != "/" {
		return t.wrap("delete", dir, t.client.RemoveAll(at))
	}
	// The root of the file system cannot be removed; its entries can.
	entries, err := t.client.ReadDir(at)
	for _, e := range entries {
		err = errors.Join(err, t.client.RemoveAll(path.Join(at, e.Name())))
	}
	return t.wrap("delete", dir, err)
}

// DeleteUnfinished removes files of writers that are gone. The name node tells of an
// open file when it was begun, not when it was last written.
func (t *tree) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	deleted := 0
	err := t.walk(ctx, "delete unfinished files of", dir, func(info storage.FileInfo, temporary bool) (bool, error) {
		if !temporary || !info.Modified.Before(before) {
			return true, nil
		}
		err := t.client.Remove(t.at(info.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err == nil {
			deleted++
		}
		return true, t.wrap("delete", info.Name, err)
	})
	return deleted, err
}
