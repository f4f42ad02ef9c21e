package canonical

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Iterator goes over entries in order. It is used by one goroutine at a time and
// needs no Close.
type Iterator struct {
	c          *Reader
	state      uint32
	start, end uint32 // key groups, end exclusive
	next       int    // block to load
	err        error

	block block
	buf   []byte // the whole block
	rest  []byte // what is not decoded yet
	left  uint32 // entries in rest

	keyGroup   uint32
	key, value []byte // in buf
	lastKey    []byte // of the last entry of the block before
	lastGroup  uint32
	checked    bool // lastKey and lastGroup are of the entry before
}

// Next goes to the next entry; false at the end, or at an error, see Err.
func (it *Iterator) Next() bool {
	for it.err == nil {
		if it.left == 0 && !it.load() {
			return false
		}
		if !it.decode() {
			return false
		}
		if it.keyGroup >= it.end {
			it.left, it.next = 0, it.c.blocks()
			return false
		}
		if it.keyGroup >= it.start {
			return true
		}
	}
	return false
}

// load reads the next block of the range; false if there is none, or at an error.
func (it *Iterator) load() bool {
	if it.next >= it.c.blocks() {
		return false
	}
	b := blockAt(it.c.index, it.next)
	if b.state != it.state || b.first >= it.end {
		it.next = it.c.blocks()
		return false
	}
	it.lastKey, it.lastGroup = append(it.lastKey[:0], it.key...), it.keyGroup
	it.checked = it.buf != nil
	it.buf = slices.Grow(it.buf[:0], int(b.length))[:b.length]
	if it.err = it.c.fill(it.buf, int64(b.offset)); it.err != nil {
		return false
	}
	if !blockIsWhole(it.buf, b) {
		it.err = it.c.corrupt("the checksum of block %d, at byte %d, is wrong", it.next, b.offset)
		return false
	}
	it.block, it.rest, it.left, it.keyGroup = b, it.buf, b.entries, b.first
	it.key, it.value = it.lastKey, nil
	it.next++
	return true
}

// decode takes one entry from rest. A block with the right checksum and wrong
// contents was not written by a Writer.
func (it *Iterator) decode() bool {
	group, n := binary.Uvarint(it.rest)
	if n <= 0 || group > uint64(it.block.last-it.keyGroup) {
		return it.bad()
	}
	p := it.rest[n:]
	keyLen, n := binary.Uvarint(p)
	if n <= 0 {
		return it.bad()
	}
	p = p[n:]
	valueLen, n := binary.Uvarint(p)
	if n <= 0 {
		return it.bad()
	}
	p = p[n:]
	if keyLen > uint64(len(p)) || valueLen > uint64(len(p))-keyLen {
		return it.bad()
	}
	keyGroup := it.keyGroup + uint32(group)
	key := p[:keyLen:keyLen]
	first := it.left == it.block.entries
	switch {
	case first && group != 0:
		return it.bad()
	case first && it.checked && keyGroup == it.lastGroup && bytes.Compare(key, it.lastKey) <= 0:
		return it.bad()
	case !first && group == 0 && bytes.Compare(key, it.key) <= 0:
		return it.bad()
	}
	it.keyGroup, it.key, it.value = keyGroup, key, p[keyLen:keyLen+valueLen:keyLen+valueLen]
	it.rest = p[keyLen+valueLen:]
	it.left--
	if it.left == 0 && (len(it.rest) > 0 || keyGroup != it.block.last) {
		return it.bad()
	}
	return true
}

func (it *Iterator) bad() bool {
	it.err = it.c.corrupt("block %d, at byte %d, has entries that no writer writes", it.next-1, it.block.offset)
	it.left = 0
	return false
}

// KeyGroup is that of the entry.
func (it *Iterator) KeyGroup() uint32 { return it.keyGroup }

// Key is valid until the next call of Next.
func (it *Iterator) Key() []byte { return it.key }

// Value is valid until the next call of Next.
func (it *Iterator) Value() []byte { return it.value }

// Err is why Next ended early; nil at the end of the range.
func (it *Iterator) Err() error { return it.err }
