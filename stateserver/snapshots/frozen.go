package snapshots

import (
	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// pageBytes is how much of a frozen version is copied at a time.
const pageBytes = 1 << 20

// Frozen yields a frozen version of the memory backend.
func Frozen(f *keyed.Frozen, space coordinator.Space) backend.Entries {
	e := &frozen{f: f}
	for _, s := range space.States {
		e.states = append(e.states, s.ID)
	}
	return e
}

// frozen implements [backend.Entries].
type frozen struct {
	f      *keyed.Frozen
	states []uint32 // still to be read, the first in hand
	at     keyed.Cursor
	last   bool // of the state in hand: page is the last
	page   keyed.Page
	row    int // behind the entry in hand
	key    int // in page.Keys, behind the entry in hand
	value  int
	entry  backend.Entry
	err    error
}

// Next implements [backend.Entries].
func (e *frozen) Next() bool {
	for e.row == len(e.page.KeyLengths) {
		if e.err != nil || !e.turn() {
			return false
		}
	}
	k, v := int(e.page.KeyLengths[e.row]), int(e.page.ValueLengths[e.row])
	e.entry = backend.Entry{
		StateID: e.states[0], KeyGroup: e.page.KeyGroups[e.row],
		Key: e.page.Keys[e.key : e.key+k : e.key+k], Value: e.page.Values[e.value : e.value+v : e.value+v],
	}
	e.row, e.key, e.value = e.row+1, e.key+k, e.value+v
	return true
}

// turn reads the next page; false if there is none.
func (e *frozen) turn() bool {
	if e.last {
		e.states, e.at, e.last = e.states[1:], keyed.Cursor{}, false
	}
	if len(e.states) == 0 {
		return false
	}
	e.row, e.key, e.value = 0, 0, 0
	e.page, e.at, e.last, e.err = e.f.Scan(e.states[0], e.at, keyed.MaxScanRows, pageBytes)
	return e.err == nil
}

// Entry implements [backend.Entries].
func (e *frozen) Entry() backend.Entry { return e.entry }

// Err implements [backend.Entries].
func (e *frozen) Err() error { return e.err }

// Close implements [backend.Entries].
func (e *frozen) Close() error { return nil }
