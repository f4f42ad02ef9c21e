// Package workingcopy holds the keyed state that an operator process has in
// memory: what it was told, what it changed, and which of those changes a host
// has made durable. It knows no stream; it turns what is missing into Get
// sections and what changed into Flush sections (docs/protocol.md, 5 and 6).
//
// Nothing here is safe for concurrent use: one goroutine owns a store.
package workingcopy

import "time"

// entryOverhead is what an entry costs beyond its key and value: the struct,
// its place in the map and in the clock.
const entryOverhead = 184

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
	groups map[uint32]map[string]*Entry
	// The group used last, because a batch mostly stays in one.
	lastGroup uint32
	last      map[string]*Entry
	dirty     []*Entry
	sealed    []*Entry
	// rules is nil where the table holds plain values. blind: keys are not asked for.
	rules *Rules
	blind bool
}

// Table adds the table of a state, or finds it.
func (s *Store) Table(id uint32) *Table {
	if t := s.byID[id]; t != nil {
		return t
	}
	t := &Table{store: s, id: id, index: len(s.tables), groups: map[uint32]map[string]*Entry{}}
	t.last = map[string]*Entry{}
	t.groups[0] = t.last
	s.tables = append(s.tables, t)
	s.byID[id] = t
	return t
}

// Entry is one key of one state.
type Entry struct {
	table *Table
	key   string
	group uint32
	value []byte
	// gen is the generation of the newest change that is in no frame yet, 0 if
	// there is none.
	gen uint64
	// seq is the newest frame that carries a change of this entry.
	seq uint64
	// old is what a seal holds where a newer change was made after it.
	old *sealedValue
	// detail is set where the table has rules.
	detail *detail
	// cost is what the newest change counts for in Store.unflushed.
	cost    int
	found   bool
	loading bool
	used    bool
}

// sealedValue is what a seal holds: a value, or with a detail a change.
type sealedValue struct {
	value  []byte
	found  bool
	cost   int
	change *change
}

// Loading tells that the entry waits for its Get.
func (e *Entry) Loading() bool { return e.loading }

// Value is the current value; found is false where there is none. It must not
// be changed and is valid until the entry's next change.
func (e *Entry) Value() (value []byte, found bool) { return e.value, e.found }

// Key is the encoded key.
func (e *Entry) Key() string { return e.key }

// Entry finds the entry of a key. One that is not in the copy is made, in the
// loading state, and put on the list of what the next Get asks for, unless its table
// is blind. group is 0 unless the store is co-partitioned.
func (t *Table) Entry(group uint32, key []byte) *Entry {
	m := t.last
	if group != t.lastGroup {
		m = t.groups[group]
		if m == nil {
			m = map[string]*Entry{}
			t.groups[group] = m
		}
		t.last, t.lastGroup = m, group
	}
	if e := m[string(key)]; e != nil {
		e.used = true
		if e.detail != nil && !t.blind {
			e.Want()
		}
		return e
	}
	e := &Entry{table: t, key: string(key), group: group, used: true}
	m[e.key] = e
	s := t.store
	s.bytes += len(e.key) + entryOverhead
	s.clock = append(s.clock, e)
	if t.rules != nil {
		e.detail = &detail{}
		e.settle()
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
		// A seal holds the value that is there: it moves aside, and the new
		// one gets bytes of its own.
		e.old = &sealedValue{value: e.value, found: e.found, cost: e.cost}
		e.value, e.cost = nil, 0
		e.enlist()
	}
	before := cap(e.value)
	e.value = append(e.value[:0], value...)
	e.found = found
	s.bytes += cap(e.value) - before
	s.unflushed -= e.cost
	e.cost = len(e.key) + len(e.value)
	s.unflushed += e.cost
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
	delete(e.table.groups[e.group], e.key)
	s.bytes -= len(e.key) + entryOverhead
	if e.detail != nil {
		s.bytes -= e.detail.counted
	} else {
		s.bytes -= cap(e.value)
	}
}
