package hdfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Waiting for data nodes to tell the name node what they have.
const (
	replicatingFirst = 10 * time.Millisecond
	replicatingMost  = time.Second
	replicatingLimit = time.Minute
)

// writer writes beside the file's place, under a name that nobody lists.
type writer struct {
	ctx        context.Context
	t          *tree
	name       string
	temp, dest string
	file       *hdfs.FileWriter
	done       bool
}

// Create begins a file.
func (t *tree) Create(ctx context.Context, name string) (storage.Writer, error) {
	if err := t.checkFile("write", name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, t.wrap("write", name, err)
	}
	dest := t.at(name)
	temp := path.Join(path.Dir(dest), tempPrefix+rand.Text()[:12]+"-"+path.Base(dest))
	if err := t.client.MkdirAll(path.Dir(dest), dirMode); err != nil {
		return nil, t.wrap("write", name, err)
	}
	file, err := t.client.Create(temp)
	if err != nil {
		return nil, t.wrap("write", name, err)
	}
	return &writer{ctx: ctx, t: t, name: name, temp: temp, dest: dest, file: file}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // the client would ask for a block for nothing
	}
	if err := w.ctx.Err(); err != nil {
		return 0, w.t.wrap("write", w.name, err)
	}
	n, err := w.file.Write(p)
	return n, w.t.wrap("write", w.name, err)
}

// Commit closes and renames.
func (w *writer) Commit() error {
	if w.done {
		return w.t.wrap("commit", w.name, os.ErrClosed)
	}
	w.done = true
	err := w.ctx.Err()
	if err == nil {
		err = w.close()
	}
	if err == nil {
		err = w.t.client.Rename(w.temp, w.dest)
	}
	if err != nil {
		_ = w.t.client.Remove(w.temp) // best effort: DeleteUnfinished finds it
	}
	return w.t.wrap("commit", w.name, err)
}

// close closes until the name node has heard of all blocks. Until then the file is
// whole but open.
func (w *writer) close() error {
	limit := time.Now().Add(replicatingLimit)
	for wait := replicatingFirst; ; wait = min(2*wait, replicatingMost) {
		err := w.file.Close()
		if !hdfs.IsErrReplicating(err) || time.Now().After(limit) {
			return err
		}
		select {
		case <-w.ctx.Done():
			return w.ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Abort removes what was written; the name node takes the lease back with it.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	_ = w.file.Close() // frees the connections; the file goes either way
	err := w.t.client.Remove(w.temp)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // its directory was deleted
	}
	return w.t.wrap("abort", w.name, err)
}
