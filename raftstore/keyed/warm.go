package keyed

// A lookup in a state that does not fit the processor's caches is two memory
// accesses that depend on each other, the slot and the entry, and one op would
// wait for both before the next begins. warm makes the accesses of a batch
// first, with nothing between them that depends on them, so that the
// processor has many under way at a time. DESIGN.md has what it gains; a small
// state loses nothing.
const warmBatch = 32

// warm touches the likely slots and entries of up to warmBatch keys, given by
// their hashes. The result means nothing; it keeps the loads from being
// optimized away.
func (d *stateData) warm(cfg *SpaceConfig, named int, hashes []uint64) (sink byte) {
	if d.groups == nil {
		return 0
	}
	var slots [warmBatch]uint64
	var tables [warmBatch]*table
	hashes = hashes[:min(len(hashes), warmBatch)]
	for i, hash := range hashes {
		group := named
		if group < 0 {
			group = int(groupOf(hash, cfg.NumGroups) - cfg.Start)
		}
		if t := d.groups[group]; t != nil {
			tables[i] = t
			slots[i] = t.slots[uint32(hash)&uint32(len(t.slots)-1)]
		}
	}
	for i := range hashes {
		if slots[i] != 0 {
			sink ^= tables[i].arena[uint32(slots[i])-1]
		}
	}
	return sink
}
