package canonical

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ErrOrder is an entry that does not belong behind the one before.
var ErrOrder = errors.New("entries out of order")

// Writer writes one file. It holds one block and the index. It is used by one
// goroutine at a time.
type Writer struct {
	w      io.Writer
	header *holdfastv1.SnapshotHeader
	offset uint64
	index  []byte
	err    error // sticks: a file with a hole is no file

	buf     []byte // the block that is filled
	open    block  // of buf: state, first, last, entries
	lastKey []byte // of the entry before, of any block
	begun   bool   // there was an entry before
}

// NewWriter begins a file. The header names the key groups and the states in the
// order of the file; their entries and bytes are filled in by the writer.
func NewWriter(w io.Writer, header *holdfastv1.SnapshotHeader) (*Writer, error) {
	h := proto.CloneOf(header)
	if err := checkHeader(h); err != nil {
		return nil, err
	}
	for _, s := range h.GetStates() {
		s.Entries, s.Bytes = 0, 0
	}
	c := &Writer{w: w, header: h, buf: make([]byte, 0, blockSize)}
	c.write([]byte(magic))
	return c, c.err
}

// checkHeader refuses key groups that are none and states that are named twice.
func checkHeader(h *holdfastv1.SnapshotHeader) error {
	if h.GetMaxParallelism() == 0 || h.GetMaxParallelism() > maxKeyGroups {
		return fmt.Errorf("max parallelism %d is not between 1 and %d", h.GetMaxParallelism(), maxKeyGroups)
	}
	if h.GetKeyGroupStart() >= h.GetKeyGroupEnd() || h.GetKeyGroupEnd() > h.GetMaxParallelism() {
		return fmt.Errorf("key groups %d to %d (exclusive) are none of %d", h.GetKeyGroupStart(), h.GetKeyGroupEnd(), h.GetMaxParallelism())
	}
	seen := map[string]bool{}
	for _, s := range h.GetStates() {
		name := s.GetState().GetName()
		if seen[name] {
			return fmt.Errorf("state %q is there twice", name)
		}
		seen[name] = true
	}
	return nil
}

// Add appends one entry of the state with this index in the header. Entries come
// ordered by state, key group and key (as bytes), no key twice: ErrOrder. The
// writer keeps neither key nor value.
func (c *Writer) Add(state int, keyGroup uint32, key, value []byte) error {
	if c.err != nil {
		return c.err
	}
	if err := c.check(state, keyGroup, key, value); err != nil {
		return err
	}
	size := len(key) + len(value) + 3*binary.MaxVarintLen32
	if c.open.entries > 0 && (uint32(state) != c.open.state || len(c.buf)+size > blockSize) {
		if c.flush(); c.err != nil {
			return c.err
		}
	}
	if c.open.entries == 0 {
		c.open.state, c.open.first, c.open.last = uint32(state), keyGroup, keyGroup
	}
	c.buf = binary.AppendUvarint(c.buf, uint64(keyGroup-c.open.last))
	c.buf = binary.AppendUvarint(c.buf, uint64(len(key)))
	c.buf = binary.AppendUvarint(c.buf, uint64(len(value)))
	c.buf = append(c.buf, key...)
	c.buf = append(c.buf, value...)
	c.open.last = keyGroup
	c.open.entries++
	c.lastKey = append(c.lastKey[:0], key...)
	c.begun = true
	s := c.header.GetStates()[state]
	s.Entries++
	s.Bytes += uint64(len(key) + len(value))
	return nil
}

// check refuses what does not belong behind the entry before.
func (c *Writer) check(state int, keyGroup uint32, key, value []byte) error {
	if state < 0 || state >= len(c.header.GetStates()) {
		return fmt.Errorf("state %d: the file has %d", state, len(c.header.GetStates()))
	}
	if keyGroup < c.header.GetKeyGroupStart() || keyGroup >= c.header.GetKeyGroupEnd() {
		return fmt.Errorf("key group %d: the file has %d to %d (exclusive)", keyGroup, c.header.GetKeyGroupStart(), c.header.GetKeyGroupEnd())
	}
	if len(key)+len(value) > MaxEntry {
		return fmt.Errorf("an entry of %d bytes: at most %d are possible", len(key)+len(value), MaxEntry)
	}
	if !c.begun || uint32(state) > c.open.state {
		return nil
	}
	if uint32(state) < c.open.state || keyGroup < c.open.last || keyGroup == c.open.last && bytes.Compare(key, c.lastKey) <= 0 {
		return fmt.Errorf("%w: state %d, key group %d, key %.64q behind state %d, key group %d, key %.64q",
			ErrOrder, state, keyGroup, key, c.open.state, c.open.last, c.lastKey)
	}
	return nil
}

// flush writes the block. What open says of state and last key group stays, for
// check.
func (c *Writer) flush() {
	if c.open.entries == 0 {
		return
	}
	b := c.open
	b.offset, b.length, b.crc32c = c.offset, uint32(len(c.buf)), crc32.Checksum(c.buf, castagnoli)
	c.index = b.appendTo(c.index)
	c.write(c.buf)
	c.open.entries = 0
	if cap(c.buf) > 4*blockSize {
		c.buf = make([]byte, 0, blockSize) // after one entry that was larger than a block
	}
	c.buf = c.buf[:0]
}

func (c *Writer) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
		c.offset += uint64(len(p))
	}
}

// Close writes what is open, the header, the index and the trailer. It does not
// close the writer below. A file without Close is none.
func (c *Writer) Close() error {
	c.flush()
	header, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.header)
	if err != nil {
		return fmt.Errorf("header of the snapshot: %w", err)
	}
	t := trailer{
		headerAt: c.offset, headerLen: uint64(len(header)), headerCRC: crc32.Checksum(header, castagnoli),
		indexAt: c.offset + uint64(len(header)), indexLen: uint64(len(c.index)), indexCRC: crc32.Checksum(c.index, castagnoli),
	}
	c.write(header)
	c.write(c.index)
	c.write(t.appendTo(nil))
	if c.err != nil {
		return c.err
	}
	c.err = errors.New("the snapshot is closed")
	return nil
}
