package rocksdb

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// readCacheBytes is the memory for blocks of a snapshot that is only read.
const readCacheBytes = 8 << 20

// ReadSnapshot implements backend.Backend: the files are downloaded into a
// directory of their own, which goes with Close.
func (b *Backend) ReadSnapshot(ctx context.Context, spec backend.Spec, files backend.Files, handles []*holdfastv1.StateHandle) (backend.Entries, error) {
	b.mu.Lock()
	dir := b.newDir("read")
	b.mu.Unlock()
	e := &entries{dir: dir}
	if err := b.openSnapshot(ctx, e, files, handles); err != nil {
		return nil, errors.Join(fmt.Errorf("read the snapshot of %s: %w", spec.Name, err), e.Close())
	}
	return e, nil
}

func (b *Backend) openSnapshot(ctx context.Context, e *entries, files backend.Files, handles []*holdfastv1.StateHandle) error {
	if err := b.fetch(ctx, files, handles, e.dir, true); err != nil {
		return err
	}
	cfg, err := unpackMeta(e.dir)
	if err != nil {
		return err
	}
	e.disk = newDisk(e.dir)
	o := options(cfg, e.disk, b.log)
	o.ReadOnly = true
	o.CacheSize, o.MaxOpenFiles = readCacheBytes, 64
	err = guarded(e.disk.fail, func() (err error) {
		if e.db, err = pebble.Open(e.dir, o); err != nil {
			return fmt.Errorf("%w: %w", backend.ErrDamaged, err)
		}
		e.it, err = e.db.NewIter(nil)
		return err
	})
	return errors.Join(err, e.disk.err())
}

// entries walks through a tree.
type entries struct {
	dir  string
	disk *disk
	db   *pebble.DB
	it   *pebble.Iterator

	begun bool
	at    backend.Entry
	err   error
}

// Next implements backend.Entries.
func (e *entries) Next() bool {
	if e.err != nil {
		return false
	}
	found := false
	err := guarded(e.disk.fail, func() (err error) {
		found, err = e.next()
		return err
	})
	if err = errors.Join(err, e.disk.err()); err != nil {
		e.err = fmt.Errorf("%w: %w", backend.ErrDamaged, err)
		return false
	}
	return found
}

func (e *entries) next() (bool, error) {
	for {
		ok := false
		if e.begun {
			ok = e.it.Next()
		} else {
			e.begun, ok = true, e.it.First()
		}
		if !ok {
			return false, e.it.Error()
		}
		state, group, key, valid := splitKey(e.it.Key())
		v, err := e.it.ValueAndErr()
		if err != nil {
			return false, err
		}
		value, there, err := stored(v)
		if err != nil || !valid {
			return false, errValue
		}
		if there {
			e.at = backend.Entry{StateID: state, KeyGroup: group, Key: key, Value: value}
			return true, nil
		}
	}
}

// Entry implements backend.Entries.
func (e *entries) Entry() backend.Entry { return e.at }

// Err implements backend.Entries.
func (e *entries) Err() error { return e.err }

// Close implements backend.Entries.
func (e *entries) Close() error {
	var errs []error
	if e.it != nil {
		_ = e.it.Close() // its error was Err's
		e.it = nil
	}
	if e.db != nil && !errors.Is(e.disk.err(), errFatal) {
		errs = append(errs, guarded(e.disk.fail, e.db.Close))
	}
	e.db = nil
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}
