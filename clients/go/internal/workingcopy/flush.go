package workingcopy

import (
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Seal makes everything that changed and is in no frame a generation of its
// own: later changes are kept apart from it until all of it is in frames. It
// takes time per table, not per entry, unless an older seal is unfinished; that
// one is taken into the new one (rules 6.1 and 6.5).
func (s *Store) Seal() {
	for _, t := range s.tables {
		if len(t.sealed) == 0 {
			t.sealed, t.dirty = t.dirty, t.sealed
			continue
		}
		t.sealed = append(t.sealed, t.dirty...)
		t.dirty = clearList(t.dirty)
	}
	s.dropOld()
	s.sealedGen = s.gen
	s.gen++
}

// Dissolve makes an unfinished seal ordinary changes again (rule 6.6).
func (s *Store) Dissolve() {
	for _, t := range s.tables {
		t.dirty = append(t.dirty, t.sealed...)
		t.sealed = clearList(t.sealed)
	}
	s.dropOld()
	s.sealedGen = 0
}

// dropOld forgets the values that only an unfinished seal needed, where a newer
// one is going to take their place. Changes of details are joined: the newer one
// alone does not say what the older one did.
func (s *Store) dropOld() {
	if s.sealedGen == 0 {
		return
	}
	for _, t := range s.tables {
		for _, list := range [][]*Entry{t.sealed, t.dirty} {
			for _, e := range list {
				e.joinOld()
			}
		}
	}
}

// SealDone tells that a seal has no change left that is in no frame.
func (s *Store) SealDone() bool {
	for _, t := range s.tables {
		if len(t.sealed) > 0 {
			return false
		}
	}
	return true
}

// EndSeal lets newer changes be flushed; CheckpointReady has its place behind
// the sealed ones.
func (s *Store) EndSeal() { s.sealedGen = 0 }

// Dirty tells whether there are changes that are in no frame.
func (s *Store) Dirty() bool { return s.pendingCount > 0 }

// Frame is the content of one flush.
type Frame struct {
	Sections []*holdfastv1.FlushSection
	// Bytes of keys and values.
	Bytes int
}

// opOverheadBytes is what an operation counts beside its key and value in a
// flush (docs/protocol.md, section 10).
const opOverheadBytes = 6

// NextFrame takes changes of at most maxBytes, overhead included, at least one
// change, as the frame with number seq; nil if there is none to take. While a
// seal is unfinished it takes sealed changes only.
func (s *Store) NextFrame(seq uint64, maxBytes int) *Frame {
	f := frameBuilder{store: s, seq: seq, maxBytes: maxBytes}
	for _, t := range s.tables {
		list := &t.dirty
		if s.sealedGen != 0 {
			list = &t.sealed
		}
		taken := 0
		f.listed = len(*list)
		for _, e := range *list {
			if !f.take(e) {
				break
			}
			taken++
		}
		s.pendingCount -= taken
		if taken < len(*list) {
			*list = (*list)[taken:]
			break
		}
		*list = clearList(*list)
	}
	if f.frame.Bytes == 0 && len(f.frame.Sections) == 0 {
		return nil
	}
	return &f.frame
}

type frameBuilder struct {
	store    *Store
	seq      uint64
	maxBytes int
	frame    Frame
	listed   int // entries of the table in hand
	sections map[sectionKey]*holdfastv1.FlushSection
	lastKey  sectionKey
	last     *holdfastv1.FlushSection
}

type sectionKey struct {
	id, group uint32
}

// take adds what the entry has for this frame and returns false where it has
// no room left. An entry that is in a list twice has nothing the second time.
func (f *frameBuilder) take(e *Entry) bool {
	s := f.store
	value, found := e.value, e.found
	newest := s.sealedGen == 0 || e.gen <= s.sealedGen
	if newest && e.gen == 0 || !newest && e.old == nil {
		return true
	}
	if e.detail != nil {
		return f.takeChange(e, newest)
	}
	if !newest {
		value, found = sealedOf(e)
	}
	size := e.keySize() + len(value) + opOverheadBytes
	if len(f.frame.Sections) > 0 && f.frame.Bytes+size > f.maxBytes {
		return false
	}
	f.add(e, value, found)
	f.frame.Bytes += size
	e.seq = f.seq
	if newest {
		s.unflushed -= int(e.cost)
		e.gen, e.cost = 0, 0
	}
	e.takeOld()
	return true
}

// takeChange is take for an entry with a detail. Its operations may go into two
// frames, one after the other. While its Get is under way nothing goes: the answer
// could be from before it or from after.
func (f *frameBuilder) takeChange(e *Entry, newest bool) bool {
	if e.loading {
		return false
	}
	s, c := f.store, &e.detail.pending
	if !newest {
		c = sealedChange(e)
	}
	for done := c.op == 0; !done; {
		op, operand := c.next(e.table.rules.State.Kind)
		size := e.keySize() + len(operand) + opOverheadBytes
		if len(f.frame.Sections) > 0 && f.frame.Bytes+size > f.maxBytes {
			e.settle()
			return false
		}
		f.addOp(e, op, operand)
		f.frame.Bytes += size
		e.seq = f.seq
		done = c.taken(op, operand)
	}
	if newest {
		s.unflushed -= int(e.cost)
		e.gen, e.cost = 0, 0
	} else {
		e.takeOld()
	}
	e.settle()
	return true
}

func (f *frameBuilder) add(e *Entry, value []byte, found bool) {
	op := holdfastv1.FlushOp_FLUSH_OP_PUT
	if !found {
		op = holdfastv1.FlushOp_FLUSH_OP_DELETE
	}
	f.addOp(e, byte(op), value)
}

func (f *frameBuilder) addOp(e *Entry, op byte, value []byte) {
	sec := f.section(sectionKey{e.table.id, e.group})
	key := e.keyBytes()
	if len(sec.Ops) == 0 && !f.store.coPartitioned {
		// As if all were like the first one, so that columns are not copied as they
		// grow. Co-partitioned frames have many small sections.
		n := min(f.listed, f.maxBytes/(len(key)+len(value)+opOverheadBytes)+1)
		sec.Ops, sec.KeyLengths, sec.ValueLengths = make([]byte, 0, n), make([]uint32, 0, n), make([]uint32, 0, n)
		sec.Keys, sec.Values = make([]byte, 0, n*len(key)), make([]byte, 0, n*len(value))
	}
	sec.Ops = append(sec.Ops, op)
	sec.KeyLengths = append(sec.KeyLengths, uint32(len(key)))
	sec.Keys = append(sec.Keys, key...)
	sec.ValueLengths = append(sec.ValueLengths, uint32(len(value)))
	sec.Values = append(sec.Values, value...)
}

func (f *frameBuilder) section(k sectionKey) *holdfastv1.FlushSection {
	if f.last != nil && f.lastKey == k {
		return f.last
	}
	sec := f.sections[k]
	if sec == nil {
		sec = &holdfastv1.FlushSection{StateId: k.id}
		if f.store.coPartitioned {
			sec.KeyGroup = new(k.group)
		}
		if f.sections == nil {
			f.sections = map[sectionKey]*holdfastv1.FlushSection{}
		}
		f.sections[k] = sec
		f.frame.Sections = append(f.frame.Sections, sec)
	}
	f.lastKey, f.last = k, sec
	return sec
}

// takeOld forgets the value that a seal held.
func (e *Entry) takeOld() {
	if e.old == nil {
		return
	}
	e.table.store.unflushed -= int(e.old.cost)
	e.table.store.bytes -= cap(e.old.value)
	e.old = nil
}

// joinOld forgets what a seal held; of a detail the newer change takes it in.
func (e *Entry) joinOld() {
	if e.old == nil || e.detail == nil {
		e.takeOld()
		return
	}
	both := *e.old.change
	both.follow(e.table.rules.State, &e.detail.pending)
	e.detail.pending = both
	e.takeOld()
	e.settle()
}

// clearList empties a list without keeping its entries alive.
func clearList(list []*Entry) []*Entry {
	clear(list)
	return list[:0]
}
