package keyed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Records of a snapshot: type (1 byte), payload length (uint32), payload. All
// numbers are little endian. DESIGN.md has the payloads.
const (
	recordHeader  byte = 1 // magic, format
	recordSpace   byte = 2 // id and configuration
	recordImage   byte = 3 // version; its tables follow
	recordTable   byte = 4 // place and totals; its entries follow
	recordEntries byte = 5
	recordRef     byte = 6 // place of an earlier table of this space
	recordEnd     byte = 7 // checksum
)

const (
	snapshotMagic  = "HFKEYED\x00"
	snapshotFormat = 1

	recordHead = 5
	// chunkBytes is where an entries record is closed and the buffer written.
	chunkBytes = 64 << 10
	maxPayload = chunkBytes + maxKeyBytes + maxValueBytes + 1<<10
)

// recordWriter builds records in one buffer and writes it in chunks. After an
// error it writes no more.
type recordWriter struct {
	w     io.Writer
	buf   []byte
	start int // of the open record
	sum   *xxhash.Digest
	err   error
}

func newRecordWriter(w io.Writer) *recordWriter {
	return &recordWriter{w: w, buf: make([]byte, 0, 2*chunkBytes), sum: xxhash.New()}
}

func (w *recordWriter) begin(typ byte) {
	w.start = len(w.buf)
	w.buf = append(w.buf, typ, 0, 0, 0, 0)
}

func (w *recordWriter) u8(v byte)    { w.buf = append(w.buf, v) }
func (w *recordWriter) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *recordWriter) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

// full reports whether the open record should be closed.
func (w *recordWriter) full() bool { return len(w.buf)-w.start >= chunkBytes }

func (w *recordWriter) end() {
	binary.LittleEndian.PutUint32(w.buf[w.start+1:], uint32(len(w.buf)-w.start-recordHead))
	if len(w.buf) >= chunkBytes {
		w.flush()
	}
}

func (w *recordWriter) flush() {
	if w.err == nil {
		_, _ = w.sum.Write(w.buf) // never fails
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// close writes the end record: a checksum over every byte before it.
func (w *recordWriter) close() error {
	w.flush()
	sum := w.sum.Sum64()
	w.begin(recordEnd)
	w.u64(sum)
	w.end()
	w.flush()
	return w.err
}

// recordReader reads records and never asks for more memory than the input
// has bytes, but for one chunk.
type recordReader struct {
	r   io.Reader
	buf []byte
	sum *xxhash.Digest // over the records before the last one read
	// head of the last record, not yet in sum.
	head [recordHead]byte
}

// next returns the next record. The payload is valid until the next call.
func (r *recordReader) next() (typ byte, payload []byte, err error) {
	if len(r.buf) > 0 || r.head[0] != 0 {
		_, _ = r.sum.Write(r.head[:])
		_, _ = r.sum.Write(r.buf)
	}
	if err := r.fill(r.head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint32(r.head[1:]))
	if n > maxPayload {
		return 0, nil, wrapf(ErrCorruptSnapshot, "record of %d bytes", n)
	}
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		from := len(r.buf)
		step := min(n-from, chunkBytes)
		if cap(r.buf)-from < step {
			r.buf = append(make([]byte, 0, 2*from+2*step), r.buf...)
		}
		r.buf = r.buf[:from+step]
		if err := r.fill(r.buf[from:]); err != nil {
			return 0, nil, err
		}
	}
	return r.head[0], r.buf, nil
}

func (r *recordReader) fill(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return wrapf(ErrCorruptSnapshot, "cut off")
	}
	if err != nil {
		return fmt.Errorf("keyed: read snapshot: %w", err)
	}
	return nil
}

// payload takes a record apart. Reading past the end sets short and yields
// zeros.
type payload struct {
	b     []byte
	short bool
}

// bytes returns the next n bytes, in place, or nil if there are fewer.
func (p *payload) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(p.b)) {
		p.b, p.short = nil, true
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *payload) u8() byte {
	if b := p.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *payload) u32() uint32 {
	if b := p.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (p *payload) u64() uint64 {
	if b := p.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// done reports whether the payload was read exactly.
func (p *payload) done() bool { return !p.short && len(p.b) == 0 }
