// Package workingcopy holds the keyed state that an operator process has in
// memory: what it was told, what it changed, and which of those changes a host
// has made durable. It knows no stream; it turns what is missing into Get
// sections and what changed into Flush sections (docs/protocol.md, 5 and 6).
//
// Nothing here is safe for concurrent use: one goroutine owns a store.
package workingcopy

import (
	"bytes"
	"time"
)

// entryOverhead is what an entry costs beyond its key and value: the struct without
// what is in place, its slot in the index and in the clock.
const entryOverhead = 144

// Store is the working copy of one attempt.
type Store struct {
	tables        []*Table
	byID          map[uint32]*Table
	coPartitioned bool
	maxBytes      int
	bytes         int
	unflushed     int
	gen           uint64 // the generation that changes belong to now
	sealedGen     uint64 // changes up to it are sealed; 0: no unfinished seal
	acked         uint64
	wants         []*Entry
	clock         []*Entry
	hand          int
	pendingCount  int // entries in dirty and sealed lists, some of them twice
	scratch       []byte
	// hostMs was the host's clock at hostAt; lastMs is the newest time that Now told.
	hostMs, lastMs int64
	hostAt         time.Time
}

// Options bound a store.
type Options struct {
	// MaxBytes is where eviction of clean entries begins.
	MaxBytes int
	// CoPartitioned tells that every key belongs to a key group that the caller
	// names (rule 4.5).
	CoPartitioned bool
}

// New makes an empty store.
func New(o Options) *Store {
	return &Store{byID: map[uint32]*Table{}, maxBytes: o.MaxBytes, coPartitioned: o.CoPartitioned, gen: 1}
}

// Table is the part of a store that belongs to one named state.
type Table struct {
	store  *Store
	id     uint32
	index  int
	groups map[uint32]*index
	// The group used last, because a batch mostly stays in one.
	lastGroup uint32
	last      *index
	// touched keeps what Entries reads ahead from being left out.
	touched uint32
	dirty   []*Entry
	sealed  []*Entry
	// rules is nil where the table holds plain values. blind: keys are not asked for.
	rules *Rules
	blind bool
}

// Table adds the table of a state, or finds it.
func (s *Store) Table(id uint32) *Table {
	if t := s.byID[id]; t != nil {
		return t
	}
	t := &Table{store: s, id: id, index: len(s.tables), groups: map[uint32]*index{}}
	t.last = newIndex()
	t.groups[0] = t.last
	s.tables = append(s.tables, t)
	s.byID[id] = t
	return t
}

// Short keys and values are in the entry itself, which takes two lines of the
// processor's cache: what a record needs is found with one look.
const inlineKey, inlineValue = 24, 16

// Entry is one key of one state.
type Entry struct {
	short   [inlineKey]byte // the key, if it is short
	long    *[]byte         // else
	group   uint32
	keyLen  uint8 // of short
	found   bool
	loading bool
	used    bool
	value   []byte
	inline  [inlineValue]byte // where a short value is
	// gen is the generation of the newest change that is in no frame yet, 0 if
	// there is none.
	gen uint64
	// seq is the newest frame that carries a change of this entry.
	seq   uint64
	table *Table
	// old is what a seal holds where a newer change was made after it.
	old *sealedValue
	// detail is set where the table has rules.
	detail *detail
	// cost is what the newest change counts for in Store.unflushed.
	cost int32
}

func newEntry(t *Table, group uint32, key []byte) *Entry {
	e := &Entry{table: t, group: group, used: true}
	if len(key) <= inlineKey {
		e.keyLen = uint8(copy(e.short[:], key))
	} else {
		long := bytes.Clone(key)
		e.long = &long
	}
	e.value = e.inline[:0]
	return e
}

// keyBytes is the key in place.
func (e *Entry) keyBytes() []byte {
	if e.long != nil {
		return *e.long
	}
	return e.short[:e.keyLen]
}

func (e *Entry) keySize() int {
	if e.long != nil {
		return len(*e.long)
	}
	return int(e.keyLen)
}

// sealedValue is what a seal holds: a value, or with a detail a change.
type sealedValue struct {
	value  []byte
	found  bool
	cost   int32
	change *change
}

// Loading tells that the entry waits for its Get.
func (e *Entry) Loading() bool { return e.loading }

// Value is the current value; found is false where there is none. It must not
// be changed and is valid until the entry's next change.
func (e *Entry) Value() (value []byte, found bool) { return e.value, e.found }

// Key is the encoded key.
func (e *Entry) Key() string { return string(e.keyBytes()) }

// of returns the index of a key group.
func (t *Table) of(group uint32) *index {
	if group == t.lastGroup {
		return t.last
	}
	x := t.groups[group]
	if x == nil {
		x = newIndex()
		t.groups[group] = x
	}
	t.last, t.lastGroup = x, group
	return x
}

// Entry finds the entry of a key. One that is not in the copy is made, in the
// loading state, and put on the list of what the next Get asks for, unless its table
// is blind. group is 0 unless the store is co-partitioned.
func (t *Table) Entry(group uint32, key []byte) *Entry {
	return t.entry(group, hashOf(key), key)
}

// warmKeys is how many keys Entries looks for at a time.
const warmKeys = 32

// Entries is Entry for many keys, which lie one after the other and end at ends. It
// calls found with each, in their order. groups is nil unless the store is
// co-partitioned.
//
// The slots and the entries of some keys are touched before the first one is looked
// at: the processor then waits for all of them at once, and not for one after the
// other.
func (t *Table) Entries(groups []uint32, keys []byte, ends []int, found func(i int, e *Entry)) {
	var hashes [warmKeys]uint32
	group := func(i int) uint32 {
		if groups == nil {
			return 0
		}
		return groups[i]
	}
	begin := 0
	for from := 0; from < len(ends); from += warmKeys {
		n := min(warmKeys, len(ends)-from)
		touched, at := t.touched, begin
		for i := range n {
			hashes[i] = hashOf(keys[at:ends[from+i]])
			at = ends[from+i]
			touched += t.of(group(from + i)).slot(hashes[i]).hash
		}
		for i := range n {
			if e := t.of(group(from + i)).slot(hashes[i]).e; e != nil {
				touched += uint32(e.keyLen) + uint32(e.gen)
			}
		}
		t.touched = touched
		for i := range n {
			found(from+i, t.entry(group(from+i), hashes[i], keys[begin:ends[from+i]]))
			begin = ends[from+i]
		}
	}
}

func (t *Table) entry(group, hash uint32, key []byte) *Entry {
	x := t.of(group)
	if e := x.find(hash, key); e != nil {
		e.used = true
		if e.detail != nil && !t.blind {
			e.Want()
		}
		return e
	}
	e := newEntry(t, group, key)
	x.add(hash, e)
	s := t.store
	s.bytes += len(key) + entryOverhead
	s.clock = append(s.clock, e)
	if t.rules != nil {
		e.detail = &detail{}
		e.settle()
	} else {
		s.bytes += cap(e.value)
	}
	if !t.blind {
		e.loading = true
		s.wants = append(s.wants, e)
	}
	return e
}

// Put sets the value of a loaded entry. The bytes are copied.
func (e *Entry) Put(value []byte) { e.change(value, true) }

// Delete removes the value of a loaded entry. Where there is none it changes
// nothing.
func (e *Entry) Delete() {
	if e.found {
		e.change(nil, false)
	}
}

func (e *Entry) change(value []byte, found bool) {
	s := e.table.store
	switch {
	case e.gen == 0:
		e.enlist()
	case e.gen <= s.sealedGen:
		// A seal holds the value that is there: it moves aside.
		e.old = &sealedValue{value: bytes.Clone(e.value), found: e.found, cost: e.cost}
		e.cost = 0
		s.bytes += cap(e.old.value)
		e.enlist()
	}
	before := cap(e.value)
	e.value = append(e.value[:0], value...)
	e.found = found
	s.bytes += cap(e.value) - before
	s.unflushed -= int(e.cost)
	e.cost = int32(e.keySize() + len(e.value))
	s.unflushed += int(e.cost)
	e.used = true
}

func (e *Entry) enlist() {
	e.gen = e.table.store.gen
	e.table.dirty = append(e.table.dirty, e)
	e.table.store.pendingCount++
}

// Ack tells that every frame through seq is durable (rule 5.5).
func (s *Store) Ack(seq uint64) {
	if seq > s.acked {
		s.acked = seq
	}
}

// UnflushedBytes counts keys and values of the changes that are in no frame.
func (s *Store) UnflushedBytes() int { return s.unflushed }

// Bytes is about what the copy takes in memory.
func (s *Store) Bytes() int { return s.bytes }

// clean tells that the host has everything of the entry and nobody waits for
// it (rules 5.3 and 5.5).
func (s *Store) clean(e *Entry) bool {
	return !e.loading && !unflushed(e) && !s.inFlight(e)
}

// Evict drops clean entries that were not used of late until the store is
// within its bound again, or nothing more can go. The caller holds no *Entry
// over it.
func (s *Store) Evict() {
	for steps := 2 * len(s.clock); s.bytes > s.maxBytes && steps > 0 && len(s.clock) > 0; steps-- {
		if s.hand >= len(s.clock) {
			s.hand = 0
		}
		e := s.clock[s.hand]
		switch {
		case e.used:
			e.used = false
			s.hand++
		case s.clean(e):
			s.remove(e)
		default:
			s.hand++
		}
	}
}

// remove takes the entry under the clock's hand out of the store.
func (s *Store) remove(e *Entry) {
	last := len(s.clock) - 1
	s.clock[s.hand] = s.clock[last]
	s.clock[last] = nil
	s.clock = s.clock[:last]
	e.table.groups[e.group].remove(e)
	s.bytes -= e.keySize() + entryOverhead
	if e.detail != nil {
		s.bytes -= e.detail.counted
	} else {
		s.bytes -= cap(e.value)
	}
}
