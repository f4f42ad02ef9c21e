package rocksdb

import (
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// unseen decides which operations can be written without reading their key. It
// keeps a few bytes for each of a number of slots, into which keys fall by their
// hash: what it knows of a slot holds for every key in it.
type unseen struct {
	// waiting counts operations that were merged since a key was read. A key that
	// meets a high count is read, so that none has many: a look at it would mean to
	// apply all of them.
	waiting []uint8
	// grown are bytes by which a list or a map can be longer than base says.
	grown []uint32
	// base is what no list or map of a state is longer than, in bytes, by index in
	// cfg.States: what the tables of the tree had when they were looked at.
	base []int64
	// full counts reads because of grown since base was set.
	full int
}

const (
	slots = 1 << 14
	// mostWaiting operations of a slot are merged before a key of it is read.
	mostWaiting = 100
	// lookAgain is how many reads because of lengths there are before the tables are
	// looked at again.
	lookAgain = 1 << 15
)

func slotOf(p *pending) uint64 {
	return (p.hash ^ uint64(p.st.ID)*0x9e3779b97f4a7c15) % slots
}

// plain reports whether a stored value is what PUT brings.
func plain(st *keyed.StateConfig) bool { return st.Kind == keyed.KindValue && st.TTLMs == 0 }

// mayGrow is what an operand can add to a stored value at most. With a TTL each
// element or entry has a time of 8 bytes; it has itself 4 at least.
func mayGrow(st *keyed.StateConfig, operand []byte) int64 {
	if st.TTLMs > 0 {
		return 3 * int64(len(operand))
	}
	return int64(len(operand))
}

// findReads takes the keys that must be read into the overlay.
func (s *State) findReads(o *overlay, sections []keyed.Section) error {
	u := &s.unseen
	if u.full > lookAgain {
		if err := s.lookAgain(); err != nil {
			return err
		}
	}
	return s.eachOp(sections, func(p *pending) error {
		if p.op == keyed.OpDelete || p.op == keyed.OpPut && p.st.Kind == keyed.KindValue {
			return nil
		}
		if u.mustRead(p, int64(s.cfg.MaxValueBytes)) {
			o.want(p)
		}
		return nil
	})
}

// mustRead notes an operation and reports whether its key must be read.
func (u *unseen) mustRead(p *pending, limit int64) bool {
	slot := slotOf(p)
	must := p.op == keyed.OpMapDelete // it may leave nothing
	if p.st.Kind != keyed.KindValue && !must {
		must = !u.grow(slot, p, limit)
	}
	if p.op != keyed.OpPut {
		if u.waiting == nil {
			u.waiting = make([]uint8, slots)
		}
		if u.waiting[slot]++; u.waiting[slot] > mostWaiting {
			u.waiting[slot] = 0
			must = true
		}
	}
	return must
}

// grow notes what a PUT, APPEND or MAP_PUT may do to a length, and reports whether
// that is within the limit for sure.
func (u *unseen) grow(slot uint64, p *pending, limit int64) bool {
	if u.grown == nil {
		u.grown = make([]uint32, slots)
	}
	n, base, old := mayGrow(p.st, p.operand), u.base[p.state], int64(u.grown[slot])
	if p.op == keyed.OpPut {
		u.grown[slot] = uint32(min(max(old, n), limit))
		return true // Check had a look at it
	}
	u.grown[slot] = uint32(min(old+n, limit))
	if base+old+n > limit {
		u.full++
		return false
	}
	return true
}

// lookAgain makes tables of everything and takes the longest values from them.
func (s *State) lookAgain() error {
	s.settle() // a flush would get into the cut
	if err := s.db.Flush(); err != nil {
		return err
	}
	return s.setBase()
}

// setBase takes the longest values from the tables; there is nothing else in the
// tree.
func (s *State) setBase() error {
	s.unseen.full = 0
	clear(s.unseen.grown)
	longest, err := longest(s.db)
	if err != nil {
		return err
	}
	for i := range s.cfg.States {
		st := &s.cfg.States[i]
		n := longest[st.ID]
		if st.TTLMs > 0 {
			n *= 3
		}
		s.unseen.base[i] = n
	}
	return nil
}
