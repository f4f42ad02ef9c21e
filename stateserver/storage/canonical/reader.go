package canonical

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sort"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Reader reads one file. It holds the index and may be used concurrently, as far
// as the io.ReaderAt below may be.
type Reader struct {
	r      io.ReaderAt
	url    string // in errors
	header *holdfastv1.SnapshotHeader
	index  []byte
}

// NewReader reads trailer, header and index of a file of this size. What is no such
// file, or not a whole one, is an error of kind storage.ErrCorrupt.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	return newReader(r, size, "the canonical snapshot")
}

func newReader(r io.ReaderAt, size int64, url string) (*Reader, error) {
	c := &Reader{r: r, url: url, header: &holdfastv1.SnapshotHeader{}}
	t, err := c.readTrailer(size)
	if err != nil {
		return nil, err
	}
	both, err := c.readAt(int64(t.headerAt), t.headerLen+t.indexLen)
	if err != nil {
		return nil, err
	}
	header, index := both[:t.headerLen], both[t.headerLen:]
	if crc32.Checksum(header, castagnoli) != t.headerCRC {
		return nil, c.corrupt("the checksum of its header is wrong")
	}
	if crc32.Checksum(index, castagnoli) != t.indexCRC {
		return nil, c.corrupt("the checksum of its index is wrong")
	}
	c.index = index
	if err := proto.Unmarshal(header, c.header); err != nil {
		return nil, c.corrupt("its header is none: %v", err)
	}
	if err := checkHeader(c.header); err != nil {
		return nil, c.corrupt("its header is none: %v", err)
	}
	if err := c.checkIndex(t.headerAt); err != nil {
		return nil, err
	}
	return c, nil
}

// readTrailer reads both ends of the file.
func (c *Reader) readTrailer(size int64) (trailer, error) {
	if size < int64(len(magic)+trailerSize) {
		return trailer{}, c.corrupt("it has %d bytes and cannot be whole", size)
	}
	end, err := c.readAt(size-trailerSize, trailerSize)
	if err != nil {
		return trailer{}, err
	}
	t, ok := trailerOf(end)
	if !ok {
		return trailer{}, c.corrupt("it does not end with a trailer: it is truncated, or no such file")
	}
	begin, err := c.readAt(0, uint64(len(magic)))
	if err != nil {
		return trailer{}, err
	}
	if string(begin) != magic {
		return trailer{}, c.corrupt("it does not begin with %q", magic)
	}
	if wrong := t.check(size); wrong != "" {
		return trailer{}, c.corrupt("%s", wrong)
	}
	return t, nil
}

// check says what is wrong: header, index and trailer follow each other to the end.
func (t trailer) check(size int64) string {
	body := uint64(size - trailerSize)
	switch {
	case t.headerAt < uint64(len(magic)) || t.headerAt > body,
		t.headerLen > body-t.headerAt,
		t.indexAt != t.headerAt+t.headerLen,
		t.indexLen != body-t.indexAt:
		return "its trailer places header and index where they cannot be"
	case t.indexLen%indexEntrySize != 0:
		return fmt.Sprintf("its index has %d bytes, no multiple of %d", t.indexLen, indexEntrySize)
	}
	return ""
}

// checkIndex: the blocks are in order, without a gap, and have the entries of the
// header.
func (c *Reader) checkIndex(end uint64) error {
	at := uint64(len(magic))
	entries := make([]uint64, len(c.header.GetStates()))
	var before block
	for i := range c.blocks() {
		b := blockAt(c.index, i)
		switch {
		case b.offset != at || uint64(b.length) > end-at:
			return c.corrupt("block %d of its index is not where the one before ends", i)
		case b.entries == 0 || b.length == 0:
			return c.corrupt("block %d of its index is empty", i)
		case int64(b.state) >= int64(len(entries)):
			return c.corrupt("block %d of its index has state %d of %d", i, b.state, len(entries))
		case b.first > b.last || b.first < c.header.GetKeyGroupStart() || b.last >= c.header.GetKeyGroupEnd():
			return c.corrupt("block %d of its index has key groups %d to %d, which are not the file's", i, b.first, b.last)
		case i > 0 && (b.state < before.state || b.state == before.state && b.first < before.last):
			return c.corrupt("block %d of its index is out of order", i)
		}
		entries[b.state] += uint64(b.entries)
		at += uint64(b.length)
		before = b
	}
	if at != end {
		return c.corrupt("its blocks end at byte %d, and should end at %d", at, end)
	}
	for i, s := range c.header.GetStates() {
		if entries[i] != s.GetEntries() {
			return c.corrupt("state %q has %d entries in its index and %d in its header", s.GetState().GetName(), entries[i], s.GetEntries())
		}
	}
	return nil
}

// Header tells of key groups and states. It is not to be changed.
func (c *Reader) Header() *holdfastv1.SnapshotHeader { return c.header }

// State is the index of the state with this name.
func (c *Reader) State(name string) (state int, ok bool) {
	for i, s := range c.header.GetStates() {
		if s.GetState().GetName() == name {
			return i, true
		}
	}
	return 0, false
}

func (c *Reader) blocks() int { return len(c.index) / indexEntrySize }

// Scan iterates over the entries of a state in some key groups (end is exclusive),
// in order. It reads only blocks that may have them.
func (c *Reader) Scan(state int, keyGroupStart, keyGroupEnd uint32) *Iterator {
	it := &Iterator{c: c, state: uint32(max(0, state)), start: keyGroupStart, end: keyGroupEnd}
	if state < 0 || state >= len(c.header.GetStates()) {
		it.err = fmt.Errorf("scan of state %d: the file has %d", state, len(c.header.GetStates()))
	}
	it.next = sort.Search(c.blocks(), func(i int) bool {
		b := blockAt(c.index, i)
		return b.state > it.state || b.state == it.state && b.last >= keyGroupStart
	})
	return it
}

// ScanAll is Scan of all key groups of the file.
func (c *Reader) ScanAll(state int) *Iterator { return c.Scan(state, 0, math.MaxUint32) }

// readAt reads n bytes, which the caller has checked against the size.
func (c *Reader) readAt(at int64, n uint64) ([]byte, error) {
	p := make([]byte, n)
	return p, c.fill(p, at)
}

func (c *Reader) fill(p []byte, at int64) error {
	n, err := c.r.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return c.corrupt("it is shorter than it was a moment ago")
	default:
		return err
	}
}

func (c *Reader) corrupt(format string, args ...any) error {
	return &storage.Error{Op: "read", URL: c.url, Kind: storage.ErrCorrupt, Err: fmt.Errorf(format, args...)}
}
