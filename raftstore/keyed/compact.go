package keyed

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// minGarbage is what may lie dead in an arena whatever its size, in bytes.
const minGarbage = 1 << 10

// appendEntry writes an entry with room bytes for its value at the end of the
// arena and returns its offset.
func (t *table) appendEntry(key, value []byte, room int) uint32 {
	off := len(t.arena)
	size := entryHeader + len(key) + room
	t.reserve(size)
	t.arena = t.arena[:off+size]
	e := t.arena[off:]
	binary.LittleEndian.PutUint32(e, uint32(len(key)))
	binary.LittleEndian.PutUint32(e[valueLenAt:], uint32(len(value)))
	binary.LittleEndian.PutUint32(e[valueCapAt:], uint32(room))
	copy(e[entryHeader:], key)
	copy(e[entryHeader+len(key):], value)
	return uint32(off)
}

// reserve makes room for n more bytes in the arena.
func (t *table) reserve(n int) {
	if cap(t.arena)-len(t.arena) >= n {
		return
	}
	// The garbage limit of maybeCompact lets the arena reach 4/3 of what is
	// live: with half as much again, churn of a steady size ends up in a fixed
	// buffer.
	grown := make([]byte, len(t.arena), len(t.arena)+len(t.arena)/2+n+64)
	copy(grown, t.arena)
	t.arena = grown
}

// entrySize returns the arena bytes of the entry at off, live or dead.
func (t *table) entrySize(off int) int {
	e := t.arena[off:]
	keyLen := binary.LittleEndian.Uint32(e) &^ deadBit
	return entryHeader + int(keyLen) + int(binary.LittleEndian.Uint32(e[valueCapAt:]))
}

// dead reports whether no slot refers to the entry at off.
func (t *table) dead(off int) bool {
	return binary.LittleEndian.Uint32(t.arena[off:])&deadBit != 0
}

// kill marks an entry as garbage.
func (t *table) kill(off uint32) {
	t.garbage += t.entrySize(int(off))
	e := t.arena[off:]
	binary.LittleEndian.PutUint32(e, binary.LittleEndian.Uint32(e)|deadBit)
}

// each calls f with every live entry in the order of the arena, until it
// returns false. A nil table is empty.
func (t *table) each(f func(off uint32, key, value []byte) bool) {
	if t == nil {
		return
	}
	for off := 0; off < len(t.arena); off += t.entrySize(off) {
		if !t.dead(off) && !f(uint32(off), t.key(uint32(off)), t.value(uint32(off))) {
			return
		}
	}
}

// maybeCompact compacts when more than a quarter of the arena is garbage,
// which pays each compaction by the changes since the last one.
func (t *table) maybeCompact() {
	if t.garbage > minGarbage && t.garbage > len(t.arena)/4 {
		t.compact()
	}
}

// compact slides the live entries to the front of the arena, in place and in
// order, and gives memory back if most of it is no longer needed.
func (t *table) compact() {
	to := 0
	for off := 0; off < len(t.arena); {
		size := t.entrySize(off)
		if !t.dead(off) {
			if to != off {
				t.relocate(uint32(off), uint32(to))
				copy(t.arena[to:], t.arena[off:off+size])
			}
			to += size
		}
		off += size
	}
	t.arena = t.arena[:to]
	t.garbage = 0
	if cap(t.arena) > 4*len(t.arena)+4*minGarbage {
		t.arena = append(make([]byte, 0, len(t.arena)+len(t.arena)/2), t.arena...)
	}
	if len(t.slots) > MinIndex && t.entries*8 < len(t.slots) {
		t.slots = t.slots.Resized(len(t.slots) / 4)
	}
}

// relocate points the slot of the entry at off to another offset.
func (t *table) relocate(off, to uint32) {
	mask := uint32(len(t.slots) - 1)
	i := uint32(xxhash.Sum64(t.key(off))) & mask
	for uint32(t.slots[i]) != off+1 {
		i = (i + 1) & mask
	}
	t.slots[i] = t.slots[i]&^(1<<32-1) | uint64(to+1)
}
