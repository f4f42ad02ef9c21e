package rocksdb

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system of one tree. Nothing is synced: working state does not
// outlive the process, and what survives is uploaded. The first write below root
// that fails, as on a full disk, loses the state; it and later ones succeed as far
// as Pebble sees, which would otherwise try a flush for ever or end the process.
type disk struct {
	vfs.FS
	root string

	mu   sync.Mutex
	lost error
}

func newDisk(root string) *disk {
	return &disk{FS: vfs.Default, root: root + string(filepath.Separator)}
}

// fail loses the state, for the first reason.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost == nil {
		d.lost = err
	}
}

// err returns why the state is lost, nil while it is not.
func (d *disk) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

// swallow is what becomes of the error of a write to name.
func (d *disk) swallow(name string, err error) error {
	if err == nil || !strings.HasPrefix(name, d.root) {
		return err
	}
	d.fail(err)
	return nil
}

func (d *disk) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil {
		return &file{File: f, d: d, name: name}, nil
	}
	if err = d.swallow(name, err); err != nil {
		return nil, err
	}
	return nowhere{name}, nil
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return d.wrap(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return d.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname, c)
	return d.wrap(newname, f, err)
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{File: f, d: d, name: name}, nil
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	return d.swallow(newname, d.FS.Link(oldname, newname))
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	return d.swallow(newname, d.FS.Rename(oldname, newname))
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// file is a file of a disk.
type file struct {
	vfs.File
	d    *disk
	name string
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err != nil {
		if err = f.d.swallow(f.name, err); err == nil {
			n = len(p)
		}
	}
	return n, err
}

// Preallocate implements vfs.File. A disk that cannot is no reason to stop.
func (f *file) Preallocate(offset, length int64) error {
	_ = f.File.Preallocate(offset, length)
	return nil
}

// Sync implements vfs.File.
func (f *file) Sync() error { return nil }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return nil }

// SyncTo implements vfs.File.
func (f *file) SyncTo(int64) (bool, error) { return false, nil }

// Close implements vfs.File.
func (f *file) Close() error { return f.d.swallow(f.name, f.File.Close()) }

// nowhere stands for a file that could not be created.
type nowhere struct{ name string }

func (nowhere) Close() error                           { return nil }
func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Preallocate(int64, int64) error         { return nil }
func (nowhere) Sync() error                            { return nil }
func (nowhere) SyncTo(int64) (bool, error)             { return false, nil }
func (nowhere) SyncData() error                        { return nil }
func (nowhere) Prefetch(int64, int64) error            { return nil }
func (nowhere) Fd() uintptr                            { return vfs.InvalidFd }
func (nowhere) Read([]byte) (int, error)               { return 0, io.EOF }
func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (n nowhere) Stat() (vfs.FileInfo, error) {
	return nil, fmt.Errorf("stat %s: %w", n.name, os.ErrNotExist)
}
