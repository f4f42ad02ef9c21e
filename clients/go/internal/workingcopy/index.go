package workingcopy

import "hash/maphash"

// seed is the same for all indexes of the process; it differs from one process to the
// next, so that nobody can choose keys that collide.
var seed = maphash.MakeSeed()

// index finds entries by key, with open addressing: one look at a slot, and one at
// the entry, which has a short key in place. A map of strings needs a third one.
type index struct {
	slots []indexSlot // a power of two of them
	used  int
}

type indexSlot struct {
	hash uint32
	e    *Entry // nil: the slot is free
}

const minIndex = 16

func newIndex() *index { return &index{slots: make([]indexSlot, minIndex)} }

func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

// find returns the entry of a key, nil if there is none.
func (x *index) find(hash uint32, key []byte) *Entry {
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s := &x.slots[i]; {
		case s.e == nil:
			return nil
		case s.hash == hash && string(s.e.keyBytes()) == string(key):
			return s.e
		}
	}
}

// slot is where the search for a hash begins.
func (x *index) slot(hash uint32) *indexSlot { return &x.slots[hash&uint32(len(x.slots)-1)] }

// add adds an entry whose key is not there.
func (x *index) add(hash uint32, e *Entry) {
	if (x.used+1)*4 > len(x.slots)*3 {
		old := x.slots
		x.slots = make([]indexSlot, 2*len(old))
		for _, s := range old {
			if s.e != nil {
				x.place(s)
			}
		}
	}
	x.place(indexSlot{hash, e})
	x.used++
}

func (x *index) place(s indexSlot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].e != nil {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

// remove takes an entry out. Those behind it move up where they may, so that no
// search ends at the gap.
func (x *index) remove(e *Entry) {
	mask := uint32(len(x.slots) - 1)
	gap := hashOf(e.keyBytes()) & mask
	for x.slots[gap].e != e {
		gap = (gap + 1) & mask
	}
	x.used--
	for i := gap; ; {
		i = (i + 1) & mask
		s := x.slots[i]
		if s.e == nil {
			break
		}
		// From its own place on, the slot may be no further than it is now.
		if (i-s.hash)&mask >= (i-gap)&mask {
			x.slots[gap], gap = s, i
		}
	}
	x.slots[gap] = indexSlot{}
}
