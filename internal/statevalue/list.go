package statevalue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed says that bytes are no list, map or keys.
var ErrMalformed = errors.New("malformed")

const (
	lengthBytes = 4
	// TimeBytes is what a TTL adds to each value, element and entry.
	TimeBytes = 8
)

// Element is one element of a list, in place.
type Element struct {
	// TimeMs is 0 in a list without times.
	TimeMs int64
	Value  []byte
	// Raw is the element as it stands in the list.
	Raw []byte
}

// NextElement takes the first element off a list that is not empty.
func NextElement(list []byte, timed bool) (e Element, rest []byte, err error) {
	b := list
	if timed {
		if e.TimeMs, b, err = Time(b); err != nil {
			return Element{}, nil, err
		}
	}
	if e.Value, b, err = chunk(b); err != nil {
		return Element{}, nil, err
	}
	e.Raw = list[:len(list)-len(b)]
	return e, b, nil
}

// AppendElement adds an element to a list without times.
func AppendElement(dst, value []byte) []byte { return appendChunk(dst, value) }

// AppendTimedElement adds an element to a list with times.
func AppendTimedElement(dst []byte, timeMs int64, value []byte) []byte {
	return appendChunk(AppendTime(dst, timeMs), value)
}

// CheckList checks a list and counts its elements. Each has size bytes, where
// size is above 0.
func CheckList(list []byte, timed bool, size int) (n int, err error) {
	for ; len(list) > 0; n++ {
		var e Element
		if e, list, err = NextElement(list, timed); err != nil {
			return 0, fmt.Errorf("element %d: %w", n, err)
		}
		if size > 0 && len(e.Value) != size {
			return 0, fmt.Errorf("element %d has %d bytes, its type has %d: %w", n, len(e.Value), size, ErrSize)
		}
	}
	return n, nil
}

// ErrSize says that an element or a value does not have the size of its type.
var ErrSize = errors.New("wrong size")

// Time takes the time off the front.
func Time(b []byte) (timeMs int64, rest []byte, err error) {
	if len(b) < TimeBytes {
		return 0, nil, fmt.Errorf("%w: %d bytes where a time should be", ErrMalformed, len(b))
	}
	return int64(binary.LittleEndian.Uint64(b)), b[TimeBytes:], nil
}

// AppendTime adds a time.
func AppendTime(dst []byte, timeMs int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(timeMs))
}

// Expired reports whether what was last updated at timeMs is over at nowMs, as
// Flink counts: at timeMs + ttlMs. A ttlMs of 0 is none.
func Expired(timeMs, ttlMs, nowMs int64) bool {
	return ttlMs > 0 && timeMs <= math.MaxInt64-ttlMs && timeMs+ttlMs <= nowMs
}

// chunk takes a length and as many bytes off the front.
func chunk(b []byte) (value, rest []byte, err error) {
	if len(b) < lengthBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes where a length should be", ErrMalformed, len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[lengthBytes:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: a length of %d with %d bytes left", ErrMalformed, n, len(b))
	}
	return b[:n:n], b[n:], nil
}

func appendChunk(dst, value []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}
