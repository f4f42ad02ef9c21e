package filesystem

import "encoding/binary"

// An entry in a chunk, in units of 8 bytes. All numbers are uint32, little endian.
const (
	keyLenAt   = 0  // with flags
	valueLenAt = 4  // bytes
	sizeAt     = 8  // of the whole entry, in units
	changedAt  = 12 // generation of its last change
	deadAt     = 16 // generation in which something newer replaced it; 0: nothing has
	keyAt      = 20 // then the value, then unused room

	unit = 8

	// tombstone: the key was deleted in the generation changed. No slot refers to it.
	tombstone = 1 << 31
	// heir: a generation that was sealed may have the key, so that its deletion
	// must be told to the next snapshot.
	heir  = 1 << 30
	flags = tombstone | heir
)

// entry is one entry in place: it ends where its chunk ends.
type entry []byte

func (e entry) u32(at int) uint32       { return binary.LittleEndian.Uint32(e[at:]) }
func (e entry) setU32(at int, v uint32) { binary.LittleEndian.PutUint32(e[at:], v) }

func (e entry) keyLen() uint32  { return e.u32(keyLenAt) &^ flags }
func (e entry) isTomb() bool    { return e.u32(keyLenAt)&tombstone != 0 }
func (e entry) isHeir() bool    { return e.u32(keyLenAt)&heir != 0 }
func (e entry) size() int       { return int(e.u32(sizeAt)) * unit }
func (e entry) changed() uint32 { return e.u32(changedAt) }
func (e entry) dead() uint32    { return e.u32(deadAt) }

func (e entry) key() []byte { return e[keyAt : keyAt+e.keyLen()] }

func (e entry) value() []byte {
	from := keyAt + e.keyLen()
	return e[from : from+e.u32(valueLenAt)]
}

// room is what a value in its place may take, in bytes.
func (e entry) room() int { return e.size() - keyAt - int(e.keyLen()) }

// bytes is what the entry counts towards the size of its state.
func (e entry) bytes() int64 { return int64(e.keyLen()) + int64(e.u32(valueLenAt)) }

// at tells whether the entry belongs to the state as it was when a generation was
// sealed.
func (e entry) at(generation uint32) bool {
	return e.changed() <= generation && (e.dead() == 0 || e.dead() > generation)
}

// entrySize is the size of an entry in bytes, with room for a value.
func entrySize(key, room int) int { return (keyAt + key + room + unit - 1) / unit * unit }
