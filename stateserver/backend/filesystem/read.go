package filesystem

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// maxRecord bounds a record that is read: a block and its last entry.
const maxRecord = blockBytes + 20<<20

// fileReader reads the entries of one file. It holds one block.
type fileReader struct {
	name   string
	src    io.ReadCloser
	r      *bufio.Reader
	cfg    *keyed.SpaceConfig
	header header

	block []byte // what is left of the open block
	buf   []byte
	count uint64
	done  bool

	// The entry that next read.
	si         int
	group      uint32 // the job's number
	key, value []byte
	removed    bool
}

// openFile opens a part of a snapshot and reads its header.
func openFile(ctx context.Context, cfg *keyed.SpaceConfig, files backend.Files, h *holdfastv1.StateHandle) (*fileReader, error) {
	name := h.File
	if name == "" {
		name = h.Name
	}
	if h.Format != Name {
		return nil, fmt.Errorf("%w: %s has the format %q, want %s", backend.ErrDamaged, name, h.Format, Name)
	}
	src, err := files.Open(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := &fileReader{name: name, src: src, r: bufio.NewReaderSize(src, blockBytes), cfg: cfg}
	if err := f.readHeader(); err != nil {
		_ = src.Close() // it was only read
		return nil, err
	}
	return f, nil
}

func (f *fileReader) close() error { return f.src.Close() }

// damaged names the file and what is wrong with it.
func (f *fileReader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", backend.ErrDamaged, f.name, fmt.Sprintf(format, args...))
}

// fill reads len(b) bytes. A file that ends early may also be one whose reader
// found the size or the hash wrong, which says more.
func (f *fileReader) fill(b []byte) error {
	_, err := io.ReadFull(f.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return f.damaged("it is cut off")
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	return nil
}

// record reads the next record. Its payload is valid until the next call.
func (f *fileReader) record() (typ byte, payload []byte, err error) {
	var head [recordHead]byte
	if err := f.fill(head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint32(head[:]))
	if n < 1 || n > maxRecord {
		return 0, nil, f.damaged("a record of %d bytes", n)
	}
	f.buf = f.buf[:0]
	for len(f.buf) < n { // memory as the bytes come
		from := len(f.buf)
		step := min(n-from, blockBytes)
		if cap(f.buf)-from < step {
			f.buf = append(make([]byte, 0, 2*from+2*step), f.buf...)
		}
		f.buf = f.buf[:from+step]
		if err := f.fill(f.buf[from:]); err != nil {
			return 0, nil, err
		}
	}
	if crc32.Checksum(f.buf, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return 0, nil, f.damaged("a checksum differs")
	}
	return f.buf[0], f.buf[1:], nil
}

func (f *fileReader) readHeader() error {
	var m [len(magic)]byte
	if err := f.fill(m[:]); err != nil {
		return err
	}
	if string(m[:]) != magic {
		return f.damaged("it is no snapshot of the %s backend of this version", Name)
	}
	typ, b, err := f.record()
	if err != nil {
		return err
	}
	p := payload{b: b}
	full := p.uvarint()
	f.header.checkpoint = p.uvarint()
	start, end, groups, states := p.uvarint(), p.uvarint(), p.uvarint(), p.uvarint()
	if typ != recordHeader || full > 1 || states != uint64(len(f.cfg.States)) {
		return f.damaged("its header is not one for %d states", len(f.cfg.States))
	}
	if start != uint64(f.cfg.Start) || end != uint64(f.cfg.End) || groups != uint64(f.cfg.NumGroups) {
		return f.damaged("it has the key groups [%d, %d) of %d, want [%d, %d) of %d", start, end, groups, f.cfg.Start, f.cfg.End, f.cfg.NumGroups)
	}
	f.header.full = full == 1
	for i := range f.cfg.States {
		id, n := p.uvarint(), p.uvarint()
		if id != uint64(f.cfg.States[i].ID) {
			return f.damaged("it has state %d, want %d", id, f.cfg.States[i].ID)
		}
		f.header.entries = append(f.header.entries, int64(n))
	}
	if p.short || len(p.b) > 0 {
		return f.damaged("its header has another length")
	}
	return nil
}

// next reads the next entry, which is valid until the next call; false at the end
// of a file that is whole.
func (f *fileReader) next() (bool, error) {
	for len(f.block) == 0 {
		if f.done {
			return false, nil
		}
		if err := f.nextBlock(); err != nil {
			return false, err
		}
	}
	p := payload{b: f.block}
	group := uint64(f.group) + p.uvarint()
	f.key = p.bytes(p.uvarint())
	size := p.uvarint()
	f.removed = size == 0
	f.value = nil
	if size > 0 {
		f.value = p.bytes(size - 1)
	}
	if p.short || group < uint64(f.cfg.Start) || group >= uint64(f.cfg.End) {
		return false, f.damaged("an entry is cut off, or of a foreign key group")
	}
	f.group, f.block = uint32(group), p.b
	f.count++
	if !f.removed {
		if err := f.cfg.States[f.si].CheckStored(f.value); err != nil {
			return false, f.damaged("%v", err)
		}
	}
	return true, nil
}

// nextBlock reads the next block, or the end.
func (f *fileReader) nextBlock() error {
	typ, b, err := f.record()
	if err != nil {
		return err
	}
	p := payload{b: b}
	n := p.uvarint()
	switch {
	case p.short:
		return f.damaged("a record is cut off")
	case typ == recordEntries:
		if f.si, err = f.cfg.StateIndex(uint32(n)); err != nil {
			return f.damaged("%v", err)
		}
		f.group, f.block = 0, p.b
		return nil
	case typ != recordEnd:
		return f.damaged("a record of the unknown type %d", typ)
	case n != f.count:
		return f.damaged("it has %d entries where %d were written", f.count, n)
	}
	f.done = true
	// Only now is it known that size and hash of the file are right.
	if _, err := f.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return f.damaged("something follows its end")
		}
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	return nil
}

// payload takes a record apart. Reading past the end sets short and yields zeros.
type payload struct {
	b     []byte
	short bool
}

func (p *payload) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.b, p.short = nil, true
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *payload) bytes(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.b, p.short = nil, true
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}
