package filesystem

// warmBatch is how many lookups are begun at a time. A lookup in a state that does
// not fit the processor's caches is two memory accesses that depend on each other;
// warm makes those of a batch before the first is needed, so that the processor has
// many under way (as in raftstore/keyed).
const warmBatch = 32

// warm touches the likely slots and entries of up to warmBatch keys. The result
// means nothing; it keeps the loads from being optimized away.
func (d *stateData) warm(groups []int, hashes []uint64) (sink byte) {
	var slots [warmBatch]uint64
	var tables [warmBatch]*table
	for i, h := range hashes {
		if t := d.groups[groups[i]]; t != nil {
			tables[i] = t
			slots[i] = t.slots[uint32(h)&uint32(len(t.slots)-1)]
		}
	}
	for i, s := range slots[:len(hashes)] {
		if s != 0 {
			sink ^= tables[i].entry(ref(s))[0]
		}
	}
	return sink
}
