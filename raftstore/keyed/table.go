package keyed

import (
	"encoding/binary"
	"slices"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// An entry in the arena: key length, value length, value capacity (uint32
// each, little endian), key, value, unused capacity.
const (
	entryHeader = 12
	valueLenAt  = 4
	valueCapAt  = 8

	// deadBit in the key length marks an entry that no slot refers to.
	deadBit = 1 << 31
	// maxTableBytes bounds entryHeader + key + value summed over the live
	// entries. It is a function of the contents, so replicas agree on it
	// whatever their garbage; with the slack and garbage that the rules in
	// compact.go allow, the arena stays below what a uint32 can address.
	maxTableBytes = 512 << 20
)

// A table holds the entries of one state in one key group. It has no pointer
// a key: slots is an open-addressing index with linear probing over entries
// in one arena. A slot is 0 or hash<<32 | offset+1 with the low 32 bits of
// the key's hash: a probe touches the arena only where those agree, and
// growing the index reads no key.
type table struct {
	// epoch of the space when the table became this owner's alone. The table
	// may be changed only while it equals space.epoch.
	epoch   uint64
	slots   Index
	arena   []byte
	entries int   // live
	bytes   int64 // keys + values of live entries
	garbage int   // arena bytes of dead entries
}

func newTable(epoch uint64) *table {
	return &table{epoch: epoch, slots: make(Index, MinIndex)}
}

// clone returns a copy that belongs to epoch.
func (t *table) clone(epoch uint64) *table {
	c := *t
	c.epoch = epoch
	c.slots = slices.Clone(t.slots)
	// Some of the spare capacity comes along, so that the next new entry does
	// not copy the arena a second time.
	spare := t.arena[:min(cap(t.arena), len(t.arena)+len(t.arena)/8+64)]
	c.arena = append([]byte(nil), spare...)[:len(t.arena)]
	return &c
}

// logicalBytes is what maxTableBytes bounds.
func (t *table) logicalBytes() int64 { return t.bytes + int64(t.entries)*entryHeader }

// find returns the slot of a key and the entry's offset, or the free slot
// where it would go. hash is the low half of the key's hash.
func (t *table) find(hash uint32, key []byte) (slot, off uint32, ok bool) {
	slots, mask := t.slots, uint32(len(t.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := slots[i]
		if s == 0 {
			return i, 0, false
		}
		if uint32(s>>32) == hash {
			off = uint32(s) - 1
			if string(t.key(off)) == string(key) {
				return i, off, true
			}
		}
	}
}

// key returns the key of a live entry, in place.
func (t *table) key(off uint32) []byte {
	e := t.arena[off:]
	return e[entryHeader : entryHeader+binary.LittleEndian.Uint32(e)]
}

// value returns the value of a live entry, in place.
func (t *table) value(off uint32) []byte {
	e := t.arena[off:]
	from := entryHeader + binary.LittleEndian.Uint32(e)
	return e[from : from+binary.LittleEndian.Uint32(e[valueLenAt:])]
}

// get returns the value of a key, in place. A nil table is empty.
func (t *table) get(hash uint32, key []byte) ([]byte, bool) {
	if t == nil {
		return nil, false
	}
	_, off, ok := t.find(hash, key)
	if !ok {
		return nil, false
	}
	return t.value(off), true
}

// put sets a key's value.
func (t *table) put(hash uint32, key, value []byte) {
	slot, off, ok := t.find(hash, key)
	if ok {
		t.update(slot, off, value)
		return
	}
	t.insert(slot, hash, key, value)
}

// add combines the value of a key with an operand of 8 bytes; an absent key
// takes the operand.
func (t *table) add(typ Type, op Op, hash uint32, key, operand []byte) {
	slot, off, ok := t.find(hash, key)
	if ok {
		statevalue.CombineNumber(typ, op, t.value(off), operand)
		return
	}
	t.insert(slot, hash, key, operand)
}

// insert adds an absent key at the free slot that find returned.
func (t *table) insert(slot, hash uint32, key, value []byte) {
	off := t.appendEntry(key, value, len(value))
	t.slots[slot] = uint64(hash)<<32 | uint64(off+1)
	t.entries++
	t.bytes += int64(len(key) + len(value))
	if t.entries*4 > len(t.slots)*3 {
		t.slots = t.slots.Resized(len(t.slots) * 2)
	}
}

// update replaces the value of a live entry: in place where it fits without
// wasting more than the value's size, else by a new entry.
func (t *table) update(slot, off uint32, value []byte) {
	e := t.arena[off:]
	keyLen := binary.LittleEndian.Uint32(e)
	old := int(binary.LittleEndian.Uint32(e[valueLenAt:]))
	room := int(binary.LittleEndian.Uint32(e[valueCapAt:]))
	t.bytes += int64(len(value) - old)
	if len(value) <= room && room <= valueRoom(len(value)) {
		binary.LittleEndian.PutUint32(e[valueLenAt:], uint32(len(value)))
		copy(e[entryHeader+keyLen:], value)
		return
	}
	room = len(value)
	if len(value) > old { // it grows: expect more of it
		room += room / 4
	}
	moved := t.appendEntry(t.key(off), value, room)
	t.slots[slot] = t.slots[slot]&^(1<<32-1) | uint64(moved+1)
	t.kill(off)
	t.maybeCompact()
}

// extend puts tail behind the value of a key that is there.
func (t *table) extend(hash uint32, key, tail []byte) {
	slot, off, ok := t.find(hash, key)
	if !ok {
		return
	}
	e := t.arena[off:]
	keyLen := binary.LittleEndian.Uint32(e)
	n := int(binary.LittleEndian.Uint32(e[valueLenAt:]))
	room := int(binary.LittleEndian.Uint32(e[valueCapAt:]))
	size := n + len(tail)
	t.bytes += int64(len(tail))
	if size > room {
		moved := t.appendEntry(t.key(off), t.value(off), size+size/4)
		t.slots[slot] = t.slots[slot]&^(1<<32-1) | uint64(moved+1)
		t.kill(off)
		e = t.arena[moved:]
	}
	binary.LittleEndian.PutUint32(e[valueLenAt:], uint32(size))
	copy(e[entryHeader+keyLen+uint32(n):], tail)
	if size > room {
		t.maybeCompact()
	}
}

// full reports whether the table is above what it may hold. A nil table is empty.
func (t *table) full() bool { return t != nil && t.logicalBytes() > maxTableBytes }

// valueRoom is the largest capacity that a value of n bytes may occupy.
func valueRoom(n int) int { return 2*n + 32 }

// remove deletes a key if it is there. It closes the gap in
// the probe sequences instead of leaving a tombstone, so that deletes never
// make later lookups slower.
func (t *table) remove(hash uint32, key []byte) {
	slot, off, ok := t.find(hash, key)
	if !ok {
		return
	}
	t.bytes -= int64(len(t.key(off)) + len(t.value(off)))
	t.entries--
	t.kill(off)
	t.slots.CloseGap(slot)
	t.maybeCompact()
}
