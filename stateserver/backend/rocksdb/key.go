package rocksdb

import "encoding/binary"

// A key of the tree is
//
//	state number, 4 bytes | key group, 2 bytes | the user's key
//
// with big endian numbers, so that the order of the tree is the canonical one of
// entries: state, key group, key as bytes.
const (
	groupAt   = 4
	keyHeader = 6
)

// putHeader writes what stands before the user's key.
func putHeader(dst []byte, state, group uint32) {
	binary.BigEndian.PutUint32(dst, state)
	binary.BigEndian.PutUint16(dst[groupAt:], uint16(group))
}

// appendKey appends a whole key.
func appendKey(dst []byte, state, group uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, state)
	dst = binary.BigEndian.AppendUint16(dst, uint16(group))
	return append(dst, key...)
}

// splitKey takes a key of the tree apart. ok is false for what is none.
func splitKey(k []byte) (state, group uint32, key []byte, ok bool) {
	if len(k) < keyHeader {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(k), uint32(binary.BigEndian.Uint16(k[groupAt:])), k[keyHeader:], true
}

// stateBounds returns the first key of a state and the first after it; the last
// state number has no upper bound.
func stateBounds(state uint32) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint32(nil, state)
	if state != 1<<32-1 {
		upper = binary.BigEndian.AppendUint32(nil, state+1)
	}
	return lower, upper
}
