package filesystem

import "github.com/holdfast-io/holdfast/raftstore/keyed"

// minGarbage is what may lie dead in a table whatever its size, in bytes.
const minGarbage = 4 << 10

// leastShare is the garbage that a chunk must have to be worth moving, in 256ths.
const leastShare = 64

// reclaim frees memory once more than a third of the log is dead: a chunk that has
// only dead entries at once, else the worst one after what lives in it has moved
// to the tail. So a change pays for one chunk at most. It waits while an open
// snapshot has yet to be written.
func (t *table) reclaim(er *era) {
	if t.dead <= minGarbage || t.dead <= t.used/3 || er.held {
		return
	}
	worst, most := 0, leastShare
	for i := range t.chunks {
		c := &t.chunks[i]
		if c.data == nil || i == t.tail {
			continue
		}
		g := c.garbage(er.full)
		if g == c.used {
			t.drop(i)
			continue
		}
		// A chunk that is half alive costs as much to move as it gives.
		if share := g * 256 / len(c.data); share > most {
			worst, most = i, share
		}
	}
	if t.dead > t.used/3 && worst != 0 {
		t.evacuate(er, worst)
	}
	if len(t.slots) > keyed.MinIndex && t.entries*8 < len(t.slots) {
		t.slots = t.slots.Resized(len(t.slots) / 4)
	}
}

// evacuate moves what lives in a chunk to the tail, generations as they were, and
// drops the chunk.
func (t *table) evacuate(er *era, i int) {
	t.chunks[i].each(0, func(off int, e entry) bool {
		switch {
		case e.dead() != 0:
		case e.isTomb():
			if e.changed() > er.full {
				t.write(e.key(), nil, 0, e.changed(), tombstone)
			}
		default:
			moved := t.write(e.key(), e.value(), e.room(), e.changed(), e.u32(keyLenAt)&heir)
			t.relocate(refOf(i, off), moved)
		}
		return true
	})
	t.drop(i)
}

// relocate points the slot of an entry to where the entry is now.
func (t *table) relocate(from, to ref) {
	hash := uint32(keyed.HashKey(t.entry(to).key()))
	mask := uint32(len(t.slots) - 1)
	i := hash & mask
	for ref(t.slots[i]) != from {
		i = (i + 1) & mask
	}
	t.slots[i] = uint64(hash)<<32 | uint64(to)
}
