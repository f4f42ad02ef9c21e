// Package canonical is the snapshot format that does not depend on the backend:
// entries of keyed states ordered by state, key group and key, in blocks with
// checksums, with an index by key group. ../DESIGN.md has the format.
package canonical

import (
	"encoding/binary"
	"hash/crc32"
)

// FormatName is the format in a StateSnapshot of the manifest.
const FormatName = "canonical"

const (
	magic    = "HFCANON1"
	endMagic = "1NONACFH"

	// blockSize is the most bytes of a block with more than one entry.
	blockSize = 64 << 10

	// MaxEntry is the most bytes of a key and its value.
	MaxEntry = 1 << 30

	indexEntrySize = 32
	trailerSize    = 48

	// maxKeyGroups is the most that an operator can have, as in Operator.
	maxKeyGroups = 32768
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is one entry of the index.
type block struct {
	state           uint32
	first, last     uint32 // key groups
	length          uint32
	offset          uint64
	entries, crc32c uint32
}

func (b block) appendTo(p []byte) []byte {
	for _, n := range []uint32{b.state, b.first, b.last, b.length} {
		p = binary.LittleEndian.AppendUint32(p, n)
	}
	p = binary.LittleEndian.AppendUint64(p, b.offset)
	p = binary.LittleEndian.AppendUint32(p, b.entries)
	return binary.LittleEndian.AppendUint32(p, b.crc32c)
}

// blockAt reads the i-th entry of an index.
func blockAt(index []byte, i int) block {
	p := index[i*indexEntrySize:][:indexEntrySize]
	u := binary.LittleEndian.Uint32
	return block{
		state: u(p), first: u(p[4:]), last: u(p[8:]), length: u(p[12:]),
		offset: binary.LittleEndian.Uint64(p[16:]), entries: u(p[24:]), crc32c: u(p[28:]),
	}
}

// trailer is the end of a file.
type trailer struct {
	headerAt, headerLen, indexAt, indexLen uint64
	headerCRC, indexCRC                    uint32
}

func (t trailer) appendTo(p []byte) []byte {
	for _, n := range []uint64{t.headerAt, t.headerLen, t.indexAt, t.indexLen} {
		p = binary.LittleEndian.AppendUint64(p, n)
	}
	p = binary.LittleEndian.AppendUint32(p, t.headerCRC)
	p = binary.LittleEndian.AppendUint32(p, t.indexCRC)
	return append(p, endMagic...)
}

// trailerOf reads trailerSize bytes; ok says that they are one.
func trailerOf(p []byte) (t trailer, ok bool) {
	u64, u32 := binary.LittleEndian.Uint64, binary.LittleEndian.Uint32
	t = trailer{u64(p), u64(p[8:]), u64(p[16:]), u64(p[24:]), u32(p[32:]), u32(p[36:])}
	return t, string(p[40:]) == endMagic
}
