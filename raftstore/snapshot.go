package raftstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot is the state machine's stream in checksummed chunks:
//
//	8 bytes   magic "HFSNAP\r\n"
//	2 bytes   format version, 1
//	1 byte    length of the cluster id, then the cluster id
//	8 bytes   index of the last applied entry
//	8 bytes   term of that entry
//	4 bytes   sum
//	chunks:   4 bytes length (1 to maxChunk), the bytes, 4 bytes sum
//	end:      4 bytes zero, 8 bytes total length of the stream, 4 bytes sum
//
// Numbers are big endian. Each sum is the CRC32C of everything before it, so
// that no byte reaches the state machine unchecked, no chunk can be missing or
// swapped, and the last sum covers the whole snapshot.
const (
	snapshotMagic   = "HFSNAP\r\n"
	snapshotVersion = 1
	maxChunk        = 1 << 20
	chunkSize       = 64 << 10
)

// snapshotHeader says what a snapshot is of.
type snapshotHeader struct {
	ClusterID string
	Index     uint64
	Term      uint64
}

// snapshotWriter adds header, chunks and checksums around what is written.
type snapshotWriter struct {
	out   io.Writer
	sum   uint32
	total uint64
	buf   []byte
}

func newSnapshotWriter(out io.Writer, h snapshotHeader) (*snapshotWriter, error) {
	if len(h.ClusterID) > 255 {
		return nil, fmt.Errorf("%w: cluster id of %d bytes", ErrBadSnapshot, len(h.ClusterID))
	}
	head := append([]byte(snapshotMagic), 0, snapshotVersion, byte(len(h.ClusterID)))
	head = append(head, h.ClusterID...)
	head = binary.BigEndian.AppendUint64(head, h.Index)
	head = binary.BigEndian.AppendUint64(head, h.Term)
	w := &snapshotWriter{out: out, buf: make([]byte, 0, chunkSize)}
	return w, w.emit(head)
}

// emit writes bytes and the sum after them.
func (w *snapshotWriter) emit(b []byte) error {
	w.sum = crc32.Update(w.sum, castagnoli, b)
	b = binary.BigEndian.AppendUint32(b, w.sum)
	w.sum = crc32.Update(w.sum, castagnoli, b[len(b)-4:])
	_, err := w.out.Write(b)
	return err
}

// Write implements io.Writer.
func (w *snapshotWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), chunkSize-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		written += n
		if len(w.buf) == chunkSize {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (w *snapshotWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	chunk := binary.BigEndian.AppendUint32(make([]byte, 0, len(w.buf)+8), uint32(len(w.buf)))
	w.total += uint64(len(w.buf))
	chunk = append(chunk, w.buf...)
	w.buf = w.buf[:0]
	return w.emit(chunk)
}

// finish writes the last chunk and the end.
func (w *snapshotWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	end := make([]byte, 4, 16)
	return w.emit(binary.BigEndian.AppendUint64(end, w.total))
}

// snapshotReader checks a snapshot and gives the state machine's stream back.
// It returns io.EOF only after the last checksum matched and nothing follows.
type snapshotReader struct {
	in     *bufio.Reader
	header snapshotHeader
	sum    uint32
	total  uint64
	chunk  []byte // verified, not yet read
	space  []byte
	err    error  // sticky; io.EOF once verified
	at     uint64 // bytes of the input that were read
	last   uint32 // the newest sum that matched
}

// newSnapshotReader reads and checks the header. Error: ErrBadSnapshot.
func newSnapshotReader(in io.Reader) (*snapshotReader, error) {
	r := &snapshotReader{in: bufio.NewReaderSize(in, chunkSize)}
	head, err := r.take(make([]byte, len(snapshotMagic)+3))
	if err != nil {
		return nil, err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: not a snapshot", ErrBadSnapshot)
	}
	if v := binary.BigEndian.Uint16(head[len(snapshotMagic):]); v != snapshotVersion {
		return nil, fmt.Errorf("%w: format version %d, this build knows %d", ErrBadSnapshot, v, snapshotVersion)
	}
	idLen := int(head[len(head)-1])
	rest, err := r.take(make([]byte, idLen+16))
	if err != nil {
		return nil, err
	}
	r.header.ClusterID = string(rest[:idLen])
	r.header.Index = binary.BigEndian.Uint64(rest[idLen:])
	r.header.Term = binary.BigEndian.Uint64(rest[idLen+8:])
	return r, r.check("header")
}

// take fills b from the input and adds it to the sum.
func (r *snapshotReader) take(b []byte) ([]byte, error) {
	if _, err := io.ReadFull(r.in, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: cut short after %d bytes of state, behind byte %d of the file", ErrBadSnapshot, r.total, r.at)
		}
		return nil, fmt.Errorf("raftstore: read snapshot: %w", err)
	}
	r.sum = crc32.Update(r.sum, castagnoli, b)
	r.at += uint64(len(b))
	return b, nil
}

// check compares the sum so far with the one that comes next.
func (r *snapshotReader) check(part string) error {
	want := r.sum
	var b [4]byte
	if _, err := r.take(b[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(b[:]); got != want {
		return fmt.Errorf("%w: checksum of the %s after %d bytes of state, before byte %d of the file", ErrBadSnapshot, part, r.total, r.at)
	}
	r.last = want
	return nil
}

// Read implements io.Reader.
func (r *snapshotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.chunk) == 0 && r.err == nil {
		r.chunk, r.err = r.next()
	}
	if len(r.chunk) == 0 {
		return 0, r.err
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// next reads one verified chunk, or io.EOF at the verified end.
func (r *snapshotReader) next() ([]byte, error) {
	var head [4]byte
	if _, err := r.take(head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 {
		return nil, r.end()
	}
	if n > maxChunk {
		return nil, fmt.Errorf("%w: chunk of %d bytes", ErrBadSnapshot, n)
	}
	if int(n) > cap(r.space) {
		r.space = make([]byte, n)
	}
	b, err := r.take(r.space[:n])
	if err == nil {
		err = r.check("chunk")
	}
	if err != nil {
		return nil, err
	}
	r.total += uint64(n)
	return b, nil
}

// end checks the trailer. It returns io.EOF if all is well.
func (r *snapshotReader) end() error {
	var b [8]byte
	if _, err := r.take(b[:]); err != nil {
		return err
	}
	if err := r.check("end"); err != nil {
		return err
	}
	if total := binary.BigEndian.Uint64(b[:]); total != r.total {
		return fmt.Errorf("%w: %d bytes of state, the end says %d", ErrBadSnapshot, r.total, total)
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: bytes after the end", ErrBadSnapshot)
	}
	return io.EOF
}

// verified reports whether the end was reached and is good. It reads on if the
// state machine stopped earlier; state that it did not read is an error.
func (r *snapshotReader) verified() error {
	var b [1]byte
	n, err := r.Read(b[:])
	switch {
	case n > 0:
		return fmt.Errorf("%w: the state machine did not read to the end", ErrBadSnapshot)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
