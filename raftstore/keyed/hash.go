package keyed

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Hash returns a digest of the contents: configurations, live entries, frozen
// versions and byte accounts. It does not depend on the history, on the
// layout of tables or on whether the contents came by log or by snapshot. It
// reads every entry once. It finds replicas that differ; it is no protection
// against forgery.
func (s *Store) Hash() uint64 {
	spaces := make([]viewSpace, 0, len(s.spaces))
	for _, id := range slices.Sorted(maps.Keys(s.spaces)) {
		spaces = append(spaces, s.spaces[id].view(id, s.spaces[id].live))
	}
	return hashSpaces(spaces)
}

// Hash returns what Store.Hash returned at Capture.
func (v *View) Hash() uint64 { return hashSpaces(v.spaces) }

func hashSpaces(spaces []viewSpace) uint64 {
	h := hasher{tables: make(map[*table]uint64)}
	h.digest.Reset()
	h.num(uint64(len(spaces)))
	for i := range spaces {
		h.space(&spaces[i])
	}
	return h.digest.Sum64()
}

// hasher runs over the contents in a fixed order.
type hasher struct {
	digest xxhash.Digest
	tables map[*table]uint64 // shared tables are read once
}

func (h *hasher) num(values ...uint64) {
	var b [8]byte
	for _, v := range values {
		binary.LittleEndian.PutUint64(b[:], v)
		_, _ = h.digest.Write(b[:]) // never fails
	}
}

func (h *hasher) space(sp *viewSpace) {
	c := &sp.cfg
	h.num(sp.id, uint64(c.Start), uint64(c.End), uint64(c.NumGroups), bit(c.CoPartitioned),
		uint64(c.MaxKeyBytes), uint64(c.MaxValueBytes), uint64(len(c.States)))
	for _, s := range c.States {
		h.num(uint64(s.ID), uint64(s.Kind), uint64(s.Type), uint64(s.TTLMs), bit(s.ReturnExpired), uint64(s.MaxBytes))
	}
	h.num(uint64(sp.clean.state), uint64(sp.clean.group), sp.clean.credit)
	h.num(uint64(len(sp.images)))
	for _, im := range sp.images {
		h.num(im.version)
		for i := range im.states {
			h.state(&im.states[i])
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (h *hasher) state(d *stateData) {
	h.num(uint64(d.bytes), uint64(d.entries))
	for i, t := range d.groups {
		if t == nil || t.entries == 0 {
			continue
		}
		sum, ok := h.tables[t]
		if !ok {
			sum = t.sum()
			h.tables[t] = sum
		}
		h.num(uint64(i), sum, uint64(t.entries), uint64(t.bytes))
	}
}

// sum adds up a hash of every entry: addition does not see the order.
func (t *table) sum() uint64 {
	total := uint64(0)
	t.each(func(_ uint32, key, value []byte) bool {
		total += mix(xxhash.Sum64(key) + bits.RotateLeft64(mix(xxhash.Sum64(value)), 32))
		return true
	})
	return total
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection
// in which each bit of x reaches every bit of the result, so that sums of
// hashes of keys do not cancel sums of hashes of values.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
