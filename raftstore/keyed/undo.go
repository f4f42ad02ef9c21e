package keyed

// Undo is what one batch overwrote, for a batch that may turn out too large; also for
// backends with tables of their own. It is cheaper than setting table pointers back,
// which would first copy every table that the batch touches.
type Undo struct {
	records []undoRecord
	old     []byte // values before, one after the other
	// newest has the newest record of a key by state and hash. It is kept for lists
	// and maps alone: many ops on a large one must not copy it as many times.
	newest map[undoKey]int
}

type undoKey struct {
	state int
	hash  uint64
}

// undoRecord is a key as it was before one op.
type undoRecord struct {
	state, group int
	hash         uint64
	key          []byte // in the section
	from, to     int    // old value in Undo.old
	existed      bool
}

// keepUndo bounds the scratch memory kept between batches, in bytes.
const keepUndo = 1 << 20

// Reset forgets every record.
func (u *Undo) Reset() {
	if cap(u.old) > keepUndo {
		u.old = nil
	}
	clear(u.records) // let go of the sections' keys
	clear(u.newest)
	u.records, u.old = u.records[:0], u.old[:0]
}

// Has tells whether a key has a record already, and remembers it as one that gets
// its only record next. state and group are what Rollback is to be told.
func (u *Undo) Has(state, group int, hash uint64, key []byte) bool {
	k := undoKey{state, hash}
	if i, ok := u.newest[k]; ok && u.records[i].group == group && string(u.records[i].key) == string(key) {
		return true
	}
	if u.newest == nil {
		u.newest = make(map[undoKey]int)
	}
	u.newest[k] = len(u.records)
	return false
}

// Record keeps a key as it is before an op on it. The key is borrowed until Reset,
// the value is copied.
func (u *Undo) Record(state, group int, hash uint64, key, value []byte, existed bool) {
	from := len(u.old)
	u.old = append(u.old, value...)
	u.records = append(u.records, undoRecord{state, group, hash, key, from, len(u.old), existed})
}

// Rollback calls put or remove for every record, the newest first, and forgets them.
// hash is the low half of the key's hash.
func (u *Undo) Rollback(put func(state, group int, hash uint32, key, value []byte), remove func(state, group int, hash uint32, key []byte)) {
	for i := len(u.records) - 1; i >= 0; i-- {
		r := &u.records[i]
		if r.existed {
			put(r.state, r.group, uint32(r.hash), r.key, u.old[r.from:r.to])
		} else {
			remove(r.state, r.group, uint32(r.hash), r.key)
		}
	}
	u.Reset()
}
