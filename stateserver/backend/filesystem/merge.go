package filesystem

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// merge reads a chain of files side by side: of each key the newest file has the
// say. It implements [backend.Entries] and holds a block of each file.
type merge struct {
	ctx   context.Context
	cfg   *keyed.SpaceConfig
	files []*fileReader // oldest first; nil at its end
	entry backend.Entry
	last  backend.Entry // to find files out of order
	begun bool
	err   error
}

func openMerge(ctx context.Context, cfg *keyed.SpaceConfig, files backend.Files, handles []*holdfastv1.StateHandle) (*merge, error) {
	m := &merge{ctx: ctx, cfg: cfg}
	for i, h := range handles {
		f, err := openFile(ctx, cfg, files, h)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.files = append(m.files, f)
		if f.header.full != (i == 0) {
			return nil, errors.Join(f.damaged("it is not the part that belongs in its place"), m.Close())
		}
	}
	for i := range m.files {
		m.advance(i)
	}
	return m, nil
}

// advance moves a file to its next entry.
func (m *merge) advance(i int) {
	f := m.files[i]
	if m.err != nil {
		return
	}
	more, err := f.next()
	if err != nil {
		m.err = err
		return
	}
	if !more {
		m.files[i] = nil
		if err := f.close(); err != nil {
			m.err = fmt.Errorf("close %s: %w", f.name, err)
		}
	}
}

// Next implements [backend.Entries].
func (m *merge) Next() bool {
	for m.err == nil {
		if m.err = m.ctx.Err(); m.err != nil {
			break
		}
		newest := m.smallest()
		if newest < 0 {
			return false
		}
		f := m.files[newest]
		if !m.take(f) {
			break
		}
		removed := f.removed
		for i, o := range m.files {
			if o != nil && (i == newest || m.atEntry(o)) {
				m.advance(i)
			}
		}
		if m.err == nil && !removed {
			return true
		}
	}
	return false
}

// take copies the entry of a file, since its file moves on.
func (m *merge) take(f *fileReader) bool {
	m.last, m.entry = m.entry, m.last
	m.entry.StateID, m.entry.KeyGroup = m.cfg.States[f.si].ID, f.group
	m.entry.Key = append(m.entry.Key[:0], f.key...)
	m.entry.Value = append(m.entry.Value[:0], f.value...)
	if m.begun && compareEntries(&m.last, &m.entry) >= 0 {
		m.err = f.damaged("its entries are out of order")
		return false
	}
	m.begun = true
	return true
}

// smallest finds the file with the smallest key, the newest of those that have it;
// -1 at the end.
func (m *merge) smallest() int {
	best := -1
	for i, f := range m.files {
		if f != nil && (best < 0 || compareFiles(f, m.files[best]) <= 0) {
			best = i
		}
	}
	return best
}

func (m *merge) atEntry(f *fileReader) bool {
	return m.cfg.States[f.si].ID == m.entry.StateID && f.group == m.entry.KeyGroup && bytes.Equal(f.key, m.entry.Key)
}

func compareFiles(a, b *fileReader) int {
	return cmp.Or(cmp.Compare(a.si, b.si), cmp.Compare(a.group, b.group), bytes.Compare(a.key, b.key))
}

func compareEntries(a, b *backend.Entry) int {
	return cmp.Or(cmp.Compare(a.StateID, b.StateID), cmp.Compare(a.KeyGroup, b.KeyGroup), bytes.Compare(a.Key, b.Key))
}

// Entry implements [backend.Entries].
func (m *merge) Entry() backend.Entry { return m.entry }

// Err implements [backend.Entries].
func (m *merge) Err() error { return m.err }

// Close implements [backend.Entries].
func (m *merge) Close() error {
	var errs []error
	for i, f := range m.files {
		if f != nil {
			errs = append(errs, f.close())
			m.files[i] = nil
		}
	}
	return errors.Join(errs...)
}
