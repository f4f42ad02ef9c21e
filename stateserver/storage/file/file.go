// Package file keeps checkpoints on a file system that every node has at the same
// path: a network mount, or a local disk where there is one node.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// tempPrefix begins the name of a file that is not finished.
const tempPrefix = ".tmp-"

// Scheme is file://.
type Scheme struct {
	// NoFsync leaves out waiting for the disk. For tests and benchmarks.
	NoFsync bool
}

// Open gives the storage of dir. Every access goes through os.Root at the allowed
// root, so a symbolic link leads nowhere outside, whenever it is made.
func (s Scheme) Open(_ context.Context, root, dir storage.Location) (storage.Storage, error) {
	if dir.Authority != "" {
		return nil, fmt.Errorf("%w: directory %s names the host %q; a shared mount is written file://%s",
			storage.ErrInvalidName, dir, dir.Authority, dir.Path)
	}
	rel, ok := dir.Below(root)
	if !ok {
		return nil, fmt.Errorf("%w: directory %s is not below %s", storage.ErrRefused, dir, root)
	}
	if root.Path == "" {
		// Nothing is outside of this root: links may lead anywhere, absolute ones too,
		// which os.Root refuses.
		rel = strings.TrimPrefix(resolve(dir.Path), "/")
	}
	handle, err := os.OpenRoot(root.Path + "/")
	if err != nil {
		return nil, &storage.Error{
			Op: "open the root", URL: root.String(), Kind: storage.OSKind(err), Err: cause(err),
			Remedy: "mount it, or make it on every node: a root that is not there is never made",
		}
	}
	st := &files{url: dir.String(), root: handle, dir: rel, noFsync: s.NoFsync, durable: map[string]bool{}}
	if err := st.checkDir(root); err != nil {
		_ = handle.Close()
		return nil, err
	}
	return st, nil
}

// resolve follows the symbolic links of what exists of a path.
func resolve(p string) string {
	if real, err := filepath.EvalSymlinks(p); err == nil {
		return real
	}
	if up := path.Dir(p); up != p {
		return path.Join(resolve(up), path.Base(p))
	}
	return p
}

// files is a directory below an os.Root.
type files struct {
	url     string
	root    *os.Root
	dir     string // of the storage below root, "" for root itself
	noFsync bool

	mu      sync.Mutex
	durable map[string]bool // directories that were made and synced
}

// checkDir looks at what exists of the directory: it must be one, and inside.
func (f *files) checkDir(root storage.Location) error {
	info, err := f.root.Stat(f.at(""))
	switch {
	case err == nil && !info.IsDir():
		return &storage.Error{Op: "open", URL: f.url, Kind: storage.ErrInvalidName, Err: errors.New("it is a file; a directory is needed")}
	case err == nil || errors.Is(err, fs.ErrNotExist) && !f.dangling():
		return nil
	case escapes(err) || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: directory %s: a symbolic link in it leads out of the allowed root %s; name the directory itself, or allow the one it leads to in storage.allowed-roots",
			storage.ErrRefused, f.url, root)
	default:
		return f.wrap("open", "", err)
	}
}

// dangling says whether an element of the directory is a symbolic link to nothing:
// making the directory would make what the link names.
func (f *files) dangling() bool {
	for p := f.at(""); p != "."; p = path.Dir(p) {
		info, err := f.root.Lstat(p)
		if err == nil {
			if info.Mode()&fs.ModeSymlink == 0 {
				return false
			}
			_, err = f.root.Stat(p)
			return err != nil
		}
	}
	return false
}

// escapes: os.Root has no name for this error.
func escapes(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes")
}

// at is the path of a name below root.
func (f *files) at(name string) string {
	if p := path.Join(f.dir, name); p != "" {
		return filepath.FromSlash(p)
	}
	return "."
}

func (f *files) URL() string { return f.url }

func (f *files) Close() error { return f.root.Close() }

// cause is an error without the path, which the URL tells.
func cause(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	default:
		return err
	}
}

// wrap makes err the storage's.
func (f *files) wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &storage.Error{Op: op, URL: storage.JoinURL(f.url, name), Kind: storage.OSKind(err), Err: cause(err)}
	switch {
	case escapes(err):
		e.Kind = storage.ErrRefused
		e.Err = errors.New("a symbolic link in it leads out of the allowed root")
	case errors.Is(e.Kind, storage.ErrAccessDenied):
		e.Remedy = "give the user that holdfastd runs as the right to write there, on every node"
	case errors.Is(e.Kind, storage.ErrNoSpace):
		e.Remedy = "free space there, or name another directory"
	}
	return e
}

// checkFile refuses names that are none.
func (f *files) checkFile(op, name string) error {
	if err := storage.CheckName(name); err != nil {
		return &storage.Error{Op: op, URL: f.url, Kind: storage.ErrInvalidName, Err: err}
	}
	return nil
}

func (f *files) checkSub(op, dir string) error {
	if dir == "" {
		return nil
	}
	return f.checkFile(op, dir)
}
