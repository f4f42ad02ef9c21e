package rocksdb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// snapshot is a cut of a state.
type snapshot struct {
	s       *State
	c       *capture
	written bool
}

// Write implements backend.Snapshot.
func (sn *snapshot) Write(ctx context.Context, files backend.Files, base *backend.Base, incremental bool) ([]*holdfastv1.StateHandle, error) {
	select {
	case <-sn.c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if sn.c.err != nil {
		return nil, sn.c.err
	}
	s := sn.s
	s.upload.Lock()
	defer s.upload.Unlock()
	s.forget(base)
	names, err := fileNames(sn.c.dir)
	if err != nil {
		return nil, err
	}
	handles := make([]*holdfastv1.StateHandle, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.b.transfers)
	for i, name := range names {
		if incremental {
			if h := s.reuse(base, name); h != nil {
				handles[i] = h
				continue
			}
		}
		g.Go(func() (err error) {
			shared := incremental && tableRE.MatchString(name)
			handles[i], err = upload(ctx, files, filepath.Join(sn.c.dir, name), shared)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("write checkpoint %d of state %s: %w", sn.c.checkpoint, s.name, err)
	}
	s.remember(sn.c.checkpoint, sn.c.dir, handles)
	sn.written = true
	return handles, nil
}

// Release implements backend.Snapshot. What was written stays as the local copy.
func (sn *snapshot) Release() {
	if sn.written {
		return
	}
	go func() {
		<-sn.c.done
		_ = os.RemoveAll(sn.c.dir)
	}()
}

// fileNames lists the files of a checkpoint, sorted.
func fileNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// upload writes one file to the storage.
func upload(ctx context.Context, files backend.Files, path string, shared bool) (h *holdfastv1.StateHandle, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := files.Create(ctx, filepath.Base(path), Format, shared)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, &reader{ctx, f}); err != nil {
		w.Abort()
		return nil, fmt.Errorf("copy %s: %w", filepath.Base(path), err)
	}
	return w.Commit()
}

// reader stops when its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// reuse returns the handle of a table that the base has. Two attempts that were
// restored from one checkpoint give the same name to different tables, so the name
// counts only with the hash that this state saw under it.
func (s *State) reuse(base *backend.Base, name string) *holdfastv1.StateHandle {
	mine := s.shared[name]
	if base == nil || mine == nil {
		return nil
	}
	i := slices.IndexFunc(base.Handles, func(h *holdfastv1.StateHandle) bool { return h.GetName() == name })
	if i < 0 {
		return nil
	}
	h := base.Handles[i]
	if h.GetFile() == "" || h.GetSize() != mine.GetSize() || !bytes.Equal(h.GetSha256(), mine.GetSha256()) {
		return nil
	}
	h = proto.CloneOf(h)
	h.Shared = true
	return h
}

// remember notes what a checkpoint of this state has. A table that it does not have
// is in no later one.
func (s *State) remember(checkpoint uint64, dir string, handles []*holdfastv1.StateHandle) {
	clear(s.shared)
	set := keptSet{checkpoint: checkpoint, dir: dir, files: map[string]string{}}
	for _, h := range handles {
		if tableRE.MatchString(h.GetName()) {
			s.shared[h.GetName()] = h
			if key, ok := fileKey(h); ok {
				set.files[key] = filepath.Join(dir, h.GetName())
			}
		}
	}
	s.kept = append(s.kept, set)
	s.b.local.add(set)
}

// keepSets is how many local copies a state has at most: that of the newest
// completed checkpoint and two that may become it.
const keepSets = 3

// forget drops local copies that are older than the newest completed checkpoint,
// and those that nobody will ask for.
func (s *State) forget(base *backend.Base) {
	from := slices.IndexFunc(s.kept, func(k keptSet) bool { return base != nil && k.checkpoint == base.ID })
	var keep []keptSet
	for i, k := range s.kept {
		if i < from || i != from && i <= len(s.kept)-keepSets+1 && len(s.kept) >= keepSets {
			s.b.local.drop(k)
			continue
		}
		keep = append(keep, k)
	}
	s.kept = keep
}
