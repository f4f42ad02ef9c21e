package rocksdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// order puts keys into the order of the tree: neighbours share the way through
// memtables and blocks, which is what a look-up or a write costs.
type order []place

// place is a key, by its number in the batch.
type place struct {
	prefix uint64 // key group, and the first 6 bytes of the user's key
	at     uint32
}

// add takes the next key.
func (o *order) add(group uint32, key []byte) {
	prefix := uint64(group) << 48
	if len(key) >= 8 {
		prefix |= binary.BigEndian.Uint64(key) >> 16
	} else {
		for i, b := range key[:min(len(key), 6)] {
			prefix |= uint64(b) << (40 - 8*i)
		}
	}
	*o = append(*o, place{prefix, uint32(len(*o))})
}

// sort sorts by key; the same key stays in the order in which it was added.
func (o order) sort(key func(at uint32) []byte) {
	slices.SortFunc(o, func(a, b place) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		if c := bytes.Compare(key(a.at), key(b.at)); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at)
	})
}
