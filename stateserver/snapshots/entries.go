package snapshots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
)

// Wanted is a state that is asked for.
type Wanted struct {
	OperatorUID, StateName string
	// Number is what its entries have as their StateID.
	Number uint32
}

// Entries yields what the snapshot has of some states in the key groups [start, end),
// whichever subtasks had them, in the order of wanted, key group and key. A state
// that the snapshot does not have has no entries. Everything is read as it is asked
// for. Errors: those of files, and backend.ErrDamaged; both name the file.
func (r *Reader) Entries(ctx context.Context, wanted []Wanted, start, end uint32) backend.Entries {
	m := &merged{ctx: ctx, r: r, start: start, end: end, natives: map[nativeKey]*native{}}
	for _, w := range wanted {
		if r.State(w.OperatorUID, w.StateName) != nil {
			m.plan(w)
		}
	}
	return m
}

// segment is one state in one file, or in one snapshot of a backend's own.
type segment struct {
	wanted  Wanted
	subtask *holdfastv1.SubtaskSnapshot
	of      *holdfastv1.StateSnapshot
	file    *holdfastv1.SnapshotFile // nil: all of them, of a backend's own
}

// merged implements [backend.Entries] over segments, one after the other.
type merged struct {
	ctx        context.Context
	r          *Reader
	start, end uint32
	segments   []segment
	natives    map[nativeKey]*native
	cur        backend.Entries // nil: the next segment is to be opened
	number     uint32          // of the state of cur
	err        error
}

// plan adds the segments of one state. Subtasks have no key group in common.
func (m *merged) plan(w Wanted) {
	subtasks := slices.SortedFunc(slices.Values(m.r.Operator(w.OperatorUID).Subtasks), func(a, b *holdfastv1.SubtaskSnapshot) int {
		return cmp.Compare(a.KeyGroupStart, b.KeyGroupStart)
	})
	for _, s := range subtasks {
		if s.KeyGroupStart >= m.end || s.KeyGroupEnd <= m.start {
			continue
		}
		for _, x := range s.Snapshots {
			switch {
			case len(x.States) > 0 && !slices.Contains(x.States, w.StateName):
			case x.Format == CanonicalFormat:
				for _, f := range x.Files {
					m.segments = append(m.segments, segment{w, s, x, f})
				}
			default:
				m.segments = append(m.segments, segment{w, s, x, nil})
			}
		}
	}
}

// Next implements [backend.Entries].
func (m *merged) Next() bool {
	for m.err == nil {
		if m.cur == nil && !m.open() {
			return false
		}
		if m.err == nil && m.cur.Next() {
			return true
		}
		m.closeCur()
	}
	return false
}

// open begins the next segment; false if there is none.
func (m *merged) open() bool {
	if len(m.segments) == 0 {
		return false
	}
	g := m.segments[0]
	m.segments = m.segments[1:]
	m.number = g.wanted.Number
	if g.file != nil {
		m.cur, m.err = m.canonical(g)
	} else {
		m.cur, m.err = m.native(g)
	}
	return m.err == nil
}

func (m *merged) closeCur() {
	if m.cur == nil {
		return
	}
	m.err = errors.Join(m.err, m.cur.Err(), m.cur.Close())
	m.cur = nil
}

// Entry implements [backend.Entries].
func (m *merged) Entry() backend.Entry {
	e := m.cur.Entry()
	e.StateID = m.number
	return e
}

// Err implements [backend.Entries].
func (m *merged) Err() error { return m.err }

// Close implements [backend.Entries].
func (m *merged) Close() error {
	var err error
	if m.cur != nil {
		err = m.cur.Close()
		m.cur = nil
	}
	for _, n := range m.natives {
		err = errors.Join(err, n.close())
	}
	clear(m.natives)
	return err
}

// canonical opens one state of a file.
func (m *merged) canonical(g segment) (backend.Entries, error) {
	h, err := storage.HandleOf(g.file.Handle)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	f, err := canonical.Open(m.ctx, m.r.files, h)
	if err != nil {
		return nil, err
	}
	i, ok := f.State(g.wanted.StateName)
	if uid := f.Header().GetOperatorUid(); uid != g.wanted.OperatorUID || !ok && len(g.of.Files) == 1 {
		return nil, errors.Join(fmt.Errorf("%w: %s has operator %q and not the state %q of operator %q",
			backend.ErrDamaged, m.r.name(h), uid, g.wanted.StateName, g.wanted.OperatorUID), f.Close())
	}
	if !ok {
		return None{}, f.Close()
	}
	return &canonicalEntries{f: f, it: f.Scan(i, m.start, m.end)}, nil
}

// name is the URL of a handle, for people.
func (r *Reader) name(h storage.Handle) string {
	if h.File == nil {
		return r.URL() + " (inline)"
	}
	return storage.JoinURL(r.files.URL(), h.File.Path)
}

// canonicalEntries implements [backend.Entries] over one state of a file.
type canonicalEntries struct {
	f  *canonical.File
	it *canonical.Iterator
}

// Next implements [backend.Entries].
func (c *canonicalEntries) Next() bool { return c.it.Next() }

// Entry implements [backend.Entries].
func (c *canonicalEntries) Entry() backend.Entry {
	return backend.Entry{KeyGroup: c.it.KeyGroup(), Key: c.it.Key(), Value: c.it.Value()}
}

// Err implements [backend.Entries].
func (c *canonicalEntries) Err() error { return c.it.Err() }

// Close implements [backend.Entries].
func (c *canonicalEntries) Close() error { return c.f.Close() }

// None implements [backend.Entries] without entries.
type None struct{}

// Next implements [backend.Entries].
func (None) Next() bool { return false }

// Entry implements [backend.Entries].
func (None) Entry() backend.Entry { return backend.Entry{} }

// Err implements [backend.Entries].
func (None) Err() error { return nil }

// Close implements [backend.Entries].
func (None) Close() error { return nil }
