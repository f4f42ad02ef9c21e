package filesystem

import "github.com/holdfast-io/holdfast/raftstore/keyed"

// era is what every table must know of the state that it belongs to.
type era struct {
	// gen is the generation that changes belong to. A cut seals it.
	gen uint32
	// full is the generation of the full file in the newest completed snapshot:
	// deletions up to it need not be told any more.
	full uint32
	// held is set while an open snapshot has yet to be written: no table may lose an
	// entry, for Write reads all of them again if it failed.
	held bool
	// logged and tombs are the bytes of first changes in a generation and of
	// tombstones, since the state was opened.
	logged, tombs int64
	// tombsAtFull is what tombs was at the generation full.
	tombsAtFull int64
}

// table has the entries of one state in one key group: an index with open
// addressing over a log of entries in chunks. It has no pointer a key. A slot is 0
// or hash<<32 | ref with the low 32 bits of the key's hash.
type table struct {
	slots   keyed.Index
	chunks  []chunk  // 0 is never used, so that no slot of an entry is 0
	free    []uint16 // numbers of chunks that were dropped
	tail    int      // the chunk that is written to
	entries int
	bytes   int64 // keys + values
	used    int   // bytes of the log
	dead    int   // bytes of dead entries in it
}

func newTable(entries int) *table {
	slots := keyed.MinIndex
	for slots*3 < entries*4 {
		slots *= 2
	}
	return &table{slots: make(keyed.Index, slots), chunks: make([]chunk, 1, 4)}
}

// find returns the slot of a key and its entry, or the free slot where it would
// go. hash is the low half of the key's hash.
func (t *table) find(hash uint32, key []byte) (slot uint32, r ref, ok bool) {
	slots, mask := t.slots, uint32(len(t.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := slots[i]
		if s == 0 {
			return i, 0, false
		}
		if uint32(s>>32) == hash && string(t.entry(ref(s)).key()) == string(key) {
			return i, ref(s), true
		}
	}
}

// get returns the value of a key, in place. A nil table is empty.
func (t *table) get(hash uint32, key []byte) ([]byte, bool) {
	if t == nil {
		return nil, false
	}
	_, r, ok := t.find(hash, key)
	if !ok {
		return nil, false
	}
	return t.entry(r).value(), true
}

// put sets the value of a key. An entry of a sealed generation stays as it is for
// the snapshot that has it, and a new one takes its place.
func (t *table) put(er *era, hash uint32, key, value []byte) {
	slot, r, ok := t.find(hash, key)
	if !ok {
		t.insert(slot, hash, t.write(key, value, len(value), er.gen, 0))
		er.logged += int64(len(key) + len(value))
		return
	}
	e := t.entry(r)
	old := int(e.u32(valueLenAt))
	t.bytes += int64(len(value) - old)
	if e.changed() == er.gen && len(value) <= e.room() && e.room() <= valueRoom(len(value)) {
		e.setU32(valueLenAt, uint32(len(value)))
		copy(e[keyAt+e.keyLen():], value)
		return
	}
	room := len(value)
	if room > old { // it grows: expect more of it
		room += room / 4
	}
	var flag uint32
	if e.changed() < er.gen || e.isHeir() {
		flag = heir
	}
	if e.changed() < er.gen {
		er.logged += int64(len(key) + len(value))
	}
	moved := t.write(e.key(), value, room, er.gen, flag)
	t.slots[slot] = uint64(hash)<<32 | uint64(moved)
	t.kill(er, r)
	t.reclaim(er)
}

// valueRoom is the largest room that a value of n bytes may occupy.
func valueRoom(n int) int { return 2*n + 32 }

// insert refers to a new entry from the free slot that find returned.
func (t *table) insert(slot, hash uint32, r ref) {
	t.slots[slot] = uint64(hash)<<32 | uint64(r)
	t.entries++
	t.bytes += t.entry(r).bytes()
	if t.entries*4 > len(t.slots)*3 {
		t.slots = t.slots.Resized(len(t.slots) * 2)
	}
}

// remove deletes a key if it is there. Where a snapshot may have the key, a
// tombstone tells the next one.
func (t *table) remove(er *era, hash uint32, key []byte) {
	slot, r, ok := t.find(hash, key)
	if !ok {
		return
	}
	e := t.entry(r)
	t.bytes -= e.bytes()
	t.entries--
	if e.changed() < er.gen || e.isHeir() {
		t.write(e.key(), nil, 0, er.gen, tombstone)
		er.tombs += int64(entrySize(len(key), 0))
		er.logged += int64(len(key))
	}
	t.kill(er, r)
	t.slots.CloseGap(slot)
	t.reclaim(er)
}

// kill notes that something newer replaces an entry.
func (t *table) kill(er *era, r ref) {
	e := t.entry(r)
	e.setU32(deadAt, er.gen)
	t.chunks[r.chunk()].dead += e.size()
	t.dead += e.size()
}

// each calls f with every entry that is there now.
func (t *table) each(f func(r ref, e entry) bool) {
	if t == nil {
		return
	}
	more := true
	for i := range t.chunks {
		t.chunks[i].each(0, func(off int, e entry) bool {
			if e.dead() == 0 && !e.isTomb() {
				more = f(refOf(i, off), e)
			}
			return more
		})
		if !more {
			return
		}
	}
}
