package filesystem

import "github.com/holdfast-io/holdfast/raftstore/keyed"

// undo is what one batch overwrote, for a batch that may turn out too large.
type undo struct {
	records []undoRecord
	old     []byte // values before, one after the other
	// newest has the newest record of a key by state and hash, of lists and maps: many
	// ops on a large one must not copy it as many times.
	newest map[undoKey]int
}

type undoKey struct {
	state int
	hash  uint64
}

// undoRecord is a key as it was before one op.
type undoRecord struct {
	state, group int
	hash         uint32
	key          []byte // in the section
	from, to     int    // old value in undo.old
	existed      bool
}

// keepUndo bounds the scratch memory kept between batches, in bytes.
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
func (u *undo) record(s *state, si, group int, hash uint64, key []byte, once bool) {
	if once {
		k := undoKey{si, hash}
		if i, ok := u.newest[k]; ok && u.records[i].group == group && string(u.records[i].key) == string(key) {
			return
		}
		if u.newest == nil {
			u.newest = map[undoKey]int{}
		}
		u.newest[k] = len(u.records)
	}
	value, ok := s.states[si].groups[group].get(uint32(hash), key)
	from := len(u.old)
	u.old = append(u.old, value...)
	u.records = append(u.records, undoRecord{si, group, uint32(hash), key, from, len(u.old), ok})
}

// rollback takes back everything recorded, the newest first.
func (u *undo) rollback(s *state) {
	for i := len(u.records) - 1; i >= 0; i-- {
		r := &u.records[i]
		op, value := keyed.OpDelete, []byte(nil)
		if r.existed {
			op, value = keyed.OpPut, u.old[r.from:r.to]
		}
		s.applyOp(r.state, r.group, op, r.hash, r.key, value)
	}
	u.reset()
}
