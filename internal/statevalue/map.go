package statevalue

import (
	"bytes"
	"fmt"
)

// Entry is one entry of a map, in place.
type Entry struct {
	// TimeMs is 0 in a map without times.
	TimeMs     int64
	Key, Value []byte
	// Raw is the entry as it stands in the map.
	Raw []byte
}

// NextEntry takes the first entry off a map that is not empty.
func NextEntry(m []byte, timed bool) (e Entry, rest []byte, err error) {
	b := m
	if timed {
		if e.TimeMs, b, err = Time(b); err != nil {
			return Entry{}, nil, err
		}
	}
	if e.Key, b, err = chunk(b); err != nil {
		return Entry{}, nil, err
	}
	if e.Value, b, err = chunk(b); err != nil {
		return Entry{}, nil, err
	}
	e.Raw = m[:len(m)-len(b)]
	return e, b, nil
}

// AppendEntry adds an entry to a map without times. Its key comes after those
// that are there.
func AppendEntry(dst, key, value []byte) []byte {
	return appendChunk(appendChunk(dst, key), value)
}

// AppendTimedEntry adds an entry to a map with times.
func AppendTimedEntry(dst []byte, timeMs int64, key, value []byte) []byte {
	return AppendEntry(AppendTime(dst, timeMs), key, value)
}

// CheckMap checks a map and counts its entries. Each value has size bytes, where
// size is above 0.
func CheckMap(m []byte, timed bool, size int) (n int, err error) {
	var last []byte
	for ; len(m) > 0; n++ {
		var e Entry
		if e, m, err = NextEntry(m, timed); err != nil {
			return 0, fmt.Errorf("entry %d: %w", n, err)
		}
		if n > 0 && bytes.Compare(last, e.Key) >= 0 {
			return 0, fmt.Errorf("entry %d: %w: its key does not follow the one before", n, ErrMalformed)
		}
		if size > 0 && len(e.Value) != size {
			return 0, fmt.Errorf("entry %d has a value of %d bytes, its type has %d: %w", n, len(e.Value), size, ErrSize)
		}
		last = e.Key
	}
	return n, nil
}

// NextKey takes the first key off keys that are not empty.
func NextKey(keys []byte) (key, rest []byte, err error) { return chunk(keys) }

// AppendKey adds a key, which comes after those that are there.
func AppendKey(dst, key []byte) []byte { return appendChunk(dst, key) }

// CheckKeys checks the keys of a map and counts them.
func CheckKeys(keys []byte) (n int, err error) {
	var last []byte
	for ; len(keys) > 0; n++ {
		var key []byte
		if key, keys, err = chunk(keys); err != nil {
			return 0, fmt.Errorf("key %d: %w", n, err)
		}
		if n > 0 && bytes.Compare(last, key) >= 0 {
			return 0, fmt.Errorf("key %d: %w: it does not follow the one before", n, ErrMalformed)
		}
		last = key
	}
	return n, nil
}

// entryReader walks through a map, one entry ahead.
type entryReader struct {
	rest  []byte
	timed bool
	head  Entry
	ok    bool
	err   error
}

func readEntries(m []byte, timed bool) entryReader {
	r := entryReader{rest: m, timed: timed}
	r.next()
	return r
}

func (r *entryReader) next() {
	r.ok = r.err == nil && len(r.rest) > 0
	if r.ok {
		r.head, r.rest, r.err = NextEntry(r.rest, r.timed)
		r.ok = r.err == nil
	}
}
