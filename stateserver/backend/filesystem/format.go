package filesystem

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// A file is the magic and then records: length of the payload (uint32), CRC32C of
// the payload (uint32), payload. The first byte of a payload is its type. DESIGN.md
// has the payloads.
const (
	magic = "HFHEAP01"

	recordHeader  byte = 1
	recordEntries byte = 2 // of one state
	recordEnd     byte = 3

	recordHead = 8
	// blockBytes is where a record of entries is closed.
	blockBytes = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first record.
type header struct {
	full       bool
	checkpoint uint64
	space      *keyed.SpaceConfig
	// entries of each state, live at the cut: how large tables will be.
	entries []int64
}

// fileWriter writes one file through a buffer of about one block. After an error it
// writes no more.
type fileWriter struct {
	w     io.Writer
	buf   []byte
	start int // of the open record, -1 for none
	state uint32
	group uint32
	count uint64
	err   error
}

func newFileWriter(w io.Writer) *fileWriter {
	return &fileWriter{w: w, buf: append(make([]byte, 0, 2*blockBytes), magic...), start: -1}
}

func (w *fileWriter) begin(typ byte) {
	w.start = len(w.buf)
	w.buf = append(w.buf, 0, 0, 0, 0, 0, 0, 0, 0, typ)
}

func (w *fileWriter) uvarint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }

// end closes the open record, if there is one.
func (w *fileWriter) end() {
	if w.start < 0 {
		return
	}
	payload := w.buf[w.start+recordHead:]
	binary.LittleEndian.PutUint32(w.buf[w.start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.buf[w.start+4:], crc32.Checksum(payload, castagnoli))
	w.start = -1
	if len(w.buf) >= blockBytes {
		w.flush()
	}
}

func (w *fileWriter) flush() {
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > 16*blockBytes {
		w.buf = make([]byte, 0, 2*blockBytes)
	}
}

func (w *fileWriter) header(h *header) {
	w.begin(recordHeader)
	full := uint64(0)
	if h.full {
		full = 1
	}
	for _, v := range []uint64{full, h.checkpoint, uint64(h.space.Start), uint64(h.space.End), uint64(h.space.NumGroups), uint64(len(h.entries))} {
		w.uvarint(v)
	}
	for i, n := range h.entries {
		w.uvarint(uint64(h.space.States[i].ID))
		w.uvarint(uint64(n))
	}
	w.end()
}

// entry begins the entry of a key.
func (w *fileWriter) entry(state, group uint32, key []byte) {
	if w.start >= 0 && (w.state != state || len(w.buf)-w.start >= blockBytes) {
		w.end()
	}
	if w.start < 0 {
		w.begin(recordEntries)
		w.uvarint(uint64(state))
		w.state, w.group = state, 0
	}
	w.uvarint(uint64(group - w.group))
	w.group = group
	w.count++
	w.uvarint(uint64(len(key)))
	w.buf = append(w.buf, key...)
}

func (w *fileWriter) put(state, group uint32, key, value []byte) {
	w.entry(state, group, key)
	w.uvarint(uint64(len(value)) + 1)
	w.buf = append(w.buf, value...)
}

// remove writes that a key is not there any more.
func (w *fileWriter) remove(state, group uint32, key []byte) {
	w.entry(state, group, key)
	w.uvarint(0)
}

func (w *fileWriter) close() error {
	w.end()
	w.begin(recordEnd)
	w.uvarint(w.count)
	w.end()
	w.flush()
	return w.err
}
