package keyed

// undo is what one flush overwrote, for a flush that may turn out too large.
// It is cheaper than setting table pointers back, which would first copy
// every table that the flush touches.
type undo struct {
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
	from, to     int    // old value in undo.old
	existed      bool
}

// keepUndo bounds the scratch memory kept between flushes, in bytes.
const keepUndo = 1 << 20

func (u *undo) reset() {
	if cap(u.old) > keepUndo {
		u.old = nil
	}
	clear(u.records) // let go of the sections' keys
	clear(u.newest)
	u.records, u.old = u.records[:0], u.old[:0]
}

// record notes a key before an op on it; with once only before the first one.
func (u *undo) record(state, group int, hash uint64, key []byte, t *table, once bool) {
	if once {
		k := undoKey{state, hash}
		if i, ok := u.newest[k]; ok && u.records[i].group == group && string(u.records[i].key) == string(key) {
			return
		}
		if u.newest == nil {
			u.newest = make(map[undoKey]int)
		}
		u.newest[k] = len(u.records)
	}
	value, ok := t.get(uint32(hash), key)
	from := len(u.old)
	u.old = append(u.old, value...)
	u.records = append(u.records, undoRecord{state, group, hash, key, from, len(u.old), ok})
}

// rollback takes back everything recorded, the newest first.
func (u *undo) rollback(sp *space) {
	for i := len(u.records) - 1; i >= 0; i-- {
		r := &u.records[i]
		d := &sp.live[r.state]
		if r.existed {
			sp.applyOp(d, r.group, TypeOther, OpPut, uint32(r.hash), r.key, u.old[r.from:r.to])
		} else {
			sp.remove(d, r.group, uint32(r.hash), r.key)
		}
	}
	u.reset()
}
