package rocksdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// loadTable is the size at which Load begins another table, in bytes of keys and
// values.
const loadTable = 64 << 20

// Load implements backend.State. Entries come in the order of the tree, so whole
// tables are built of them and handed over to it.
func (s *State) Load(ctx context.Context, from backend.Entries) error {
	if err := s.alive(); err != nil {
		return err
	}
	l := loader{s: s, dir: filepath.Join(s.dir, "load")}
	err := s.do("load", func() error {
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return err
		}
		return l.run(ctx, from)
	})
	if l.w != nil {
		_ = l.w.Close()
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// loader builds tables of entries.
type loader struct {
	s     *State
	dir   string
	w     *sstable.Writer
	bytes int
	paths []string
	key   []byte
	last  []byte // key of the entry before
	value []byte
}

func (l *loader) run(ctx context.Context, from backend.Entries) error {
	for n := 0; from.Next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.add(from.Entry()); err != nil {
			return err
		}
	}
	if err := from.Err(); err != nil {
		return err
	}
	if err := l.endTable(); err != nil {
		return err
	}
	if len(l.paths) == 0 {
		return nil
	}
	if err := l.s.db.Ingest(ctx, l.paths); err != nil {
		return err
	}
	return l.s.changed()
}

func (l *loader) add(e backend.Entry) error {
	cfg := &l.s.cfg
	if e.KeyGroup < cfg.Start || e.KeyGroup >= cfg.End {
		return nil
	}
	i, err := cfg.StateIndex(e.StateID)
	if err != nil {
		return err
	}
	if err := cfg.States[i].CheckStored(e.Value); err != nil {
		return fmt.Errorf("load: key group %d, key %x: %w", e.KeyGroup, e.Key, err)
	}
	l.key = appendKey(l.key[:0], e.StateID, e.KeyGroup, e.Key)
	if l.last != nil && bytes.Compare(l.last, l.key) >= 0 {
		return fmt.Errorf("load: state %d, key group %d, key %x is not in order", e.StateID, e.KeyGroup, e.Key)
	}
	l.last = append(l.last[:0], l.key...)
	if l.w == nil {
		if err := l.beginTable(); err != nil {
			return err
		}
	}
	l.value = append(append(l.value[:0], tagValue), e.Value...)
	if err := l.w.Set(l.key, l.value); err != nil {
		return err
	}
	if l.bytes += len(l.key) + len(l.value); l.bytes >= loadTable {
		return l.endTable()
	}
	return nil
}

func (l *loader) beginTable() error {
	path := filepath.Join(l.dir, fmt.Sprintf("%d.sst", len(l.paths)))
	f, err := l.s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	o := options(&l.s.cfg, l.s.fs, l.s.log)
	o.EnsureDefaults()
	l.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), o.MakeWriterOptions(6, l.s.db.TableFormat()))
	l.paths, l.bytes = append(l.paths, path), 0
	return nil
}

func (l *loader) endTable() error {
	if l.w == nil {
		return nil
	}
	w := l.w
	l.w = nil
	return w.Close()
}
