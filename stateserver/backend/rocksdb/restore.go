package rocksdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Restore implements backend.State. Tables that are on this disk are linked, all
// other files are downloaded.
func (s *State) Restore(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) error {
	if err := s.alive(); err != nil {
		return err
	}
	s.closing.Lock() // Bytes waits
	defer s.closing.Unlock()
	if err := s.restore(ctx, files, handles); err != nil {
		s.fs.fail(err) // nothing can be done with what is there now
		return fmt.Errorf("restore state %s: %w", s.name, err)
	}
	return nil
}

func (s *State) restore(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) error {
	if err := s.stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dbDir()); err != nil {
		return err
	}
	if err := s.b.fetch(ctx, files, handles, s.dbDir(), true); err != nil {
		return err
	}
	cfg, err := unpackMeta(s.dbDir())
	if err != nil {
		return err
	}
	if err := sameSpace(cfg, &s.cfg); err != nil {
		return err
	}
	if err := s.keepRestored(handles); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	return s.changed()
}

// restoredDir has the local copy of what a state was restored from.
const restoredDir = "restored"

// keepRestored makes a local copy of what was restored, for an attempt that is
// restored from it again, and remembers its tables for the next checkpoint.
func (s *State) keepRestored(handles []*holdfastv1.StateHandle) error {
	dir := filepath.Join(s.dir, restoredDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, h := range handles {
		if !tableRE.MatchString(h.GetName()) {
			continue
		}
		if err := os.Link(filepath.Join(s.dbDir(), h.GetName()), filepath.Join(dir, h.GetName())); err != nil {
			return err
		}
	}
	s.upload.Lock()
	defer s.upload.Unlock()
	s.remember(0, dir, handles)
	return nil
}

// fetch brings the files of a snapshot into a directory that it makes.
func (b *Backend) fetch(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle, dir string, local bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names := make(map[string]bool, len(handles))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.transfers)
	for _, h := range handles {
		name := h.GetName()
		table := tableRE.MatchString(name)
		switch {
		case h.GetFormat() != Format:
			return errors.Join(fmt.Errorf("part %s has format %s, want %s", name, h.GetFormat(), Format), g.Wait())
		case names[name] || !table && name != metaName:
			return errors.Join(fmt.Errorf("%w: part %q is none of this backend, or is there twice", backend.ErrDamaged, name), g.Wait())
		}
		names[name] = true
		path := filepath.Join(dir, name)
		if local && table && b.local.link(h, path) {
			continue
		}
		g.Go(func() error { return download(ctx, files, h, path) })
	}
	return g.Wait()
}

// download copies one file. Files checks size and hash.
func download(ctx context.Context, files backend.Files, h *holdfastv1.StateHandle, path string) error {
	r, err := files.Open(ctx, h)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, &reader{ctx, r})
	return errors.Join(err, f.Close())
}
