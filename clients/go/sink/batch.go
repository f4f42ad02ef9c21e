package sink

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of the output.
type Record struct {
	// Topic is where it goes; empty is the topic of the sink.
	Topic string
	// Key is nil for none, which is not the same as an empty one.
	Key []byte
	// Value is nil for a tombstone.
	Value   []byte
	Headers []Header
	// Timestamp is the zero time for none: the writer takes that of writing.
	Timestamp time.Time
}

// Batch is records one after the other, as [Batch.Append] wrote them. Its bytes mean
// nothing outside the process.
type Batch []byte

// Append adds a record. What it refers to is copied.
func (b Batch) Append(r *Record) Batch {
	b = appendBytes(b, []byte(r.Topic), false)
	b = appendBytes(b, r.Key, r.Key == nil)
	b = appendBytes(b, r.Value, r.Value == nil)
	at := int64(noTime)
	if !r.Timestamp.IsZero() {
		at = r.Timestamp.UnixMilli()
	}
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendBytes(b, []byte(h.Key), false)
		b = appendBytes(b, h.Value, h.Value == nil)
	}
	return b
}

// noTime stands for no timestamp.
const noTime = math.MinInt64

// appendBytes writes a length, one too high so that 0 is left for null, and the bytes.
func appendBytes(b, v []byte, null bool) []byte {
	if null {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(v))+1), v...)
}

var errBatch = errors.New("the bytes are no batch of records")

// Next reads the first record into r, whose bytes are those of the batch, and returns
// what is behind it. The headers of r are used again.
func (b Batch) Next(r *Record) (Batch, error) {
	d := decoder{b: b}
	r.Topic = string(d.bytes())
	r.Key, r.Value = d.bytes(), d.bytes()
	at, n := binary.Varint(d.b)
	d.advance(n)
	r.Timestamp = time.Time{}
	if at != noTime {
		r.Timestamp = time.UnixMilli(at)
	}
	headers := d.uvarint()
	r.Headers = r.Headers[:0]
	for ; headers > 0 && !d.bad; headers-- {
		r.Headers = append(r.Headers, Header{Key: string(d.bytes()), Value: d.bytes()})
	}
	if d.bad {
		return nil, errBatch
	}
	return d.b, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) advance(n int) {
	if n <= 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.advance(n)
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n == 0 || d.bad {
		return nil
	}
	if n--; n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
