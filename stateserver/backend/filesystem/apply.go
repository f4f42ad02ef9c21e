package filesystem

import (
	"fmt"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Apply implements [backend.State]. Like keyed.Store's it may remove entries that are
// over, also where it refuses the batch.
func (s *state) Apply(sections []keyed.Section, nowMs int64) error {
	if s.err != nil {
		return s.err
	}
	if err := s.batch.Check(&s.cfg, sections); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nowMs = nowMs
	if err := s.apply(sections); err != nil {
		return err
	}
	s.cleanUp(sections)
	return nil
}

func (s *state) apply(sections []keyed.Section) error {
	if s.fits() && s.valuesFit(sections) {
		return s.run(sections, nil) // without an undo log it cannot fail
	}
	s.undo.Reset()
	err := s.run(sections, &s.undo)
	if err == nil {
		if err = s.limits(); err != nil && s.dropExpired() {
			err = s.limits() // what is over must not make a state too large
		}
	}
	if err != nil {
		s.rollback()
	}
	return err
}

// safeBytes is the size of a state below which none of its tables can run out of
// chunks.
const safeBytes = 1 << 30

// fits reports whether no limit can be reached even if every key is new.
func (s *state) fits() bool {
	for i := range s.states {
		bound := s.batch.Bound(i)
		if bound == 0 {
			continue
		}
		after, limit := s.states[i].bytes+bound, s.cfg.States[i].MaxBytes
		if limit > 0 && after > limit || after > safeBytes {
			return false
		}
	}
	return true
}

// limits checks the states that the batch touched as they are now.
func (s *state) limits() error {
	for i := range s.states {
		limit := s.cfg.States[i].MaxBytes
		if s.batch.Bound(i) > 0 && limit > 0 && s.states[i].bytes > limit {
			return &keyed.StateTooLargeError{StateID: s.cfg.States[i].ID, Bytes: s.states[i].bytes, Limit: limit}
		}
	}
	return nil
}

// run applies checked sections. With an undo log it also watches the size of each
// table, and may stop with an error to be rolled back.
func (s *state) run(sections []keyed.Section, u *keyed.Undo) error {
	hashes := s.batch.Hashes()
	for i := range sections {
		n := len(sections[i].Ops)
		if err := s.applySection(s.batch.StateOf(i), s.batch.GroupOf(i), &sections[i], hashes[:n], u); err != nil {
			return err
		}
		hashes = hashes[n:]
	}
	return nil
}

func (s *state) applySection(si, named int, sec *keyed.Section, hashes []uint64, u *keyed.Undo) error {
	var groups [warmBatch]int
	cfg := &s.cfg.States[si]
	plain := cfg.Plain()
	keys, values := sec.Keys, sec.Values
	for len(hashes) > 0 {
		n := min(len(hashes), warmBatch)
		for i, h := range hashes[:n] {
			if groups[i] = named; named < 0 {
				groups[i] = s.cfg.GroupOf(h)
			}
		}
		s.states[si].warm(groups[:n], hashes[:n])
		at := len(sec.Ops) - len(hashes)
		for i, h := range hashes[:n] {
			key, value := keys[:sec.KeyLengths[at+i]], values[:sec.ValueLengths[at+i]]
			keys, values = keys[len(key):], values[len(value):]
			if u != nil {
				if t := s.table(si, groups[i]); t.full() {
					return fmt.Errorf("%w: state %d, key group %d", keyed.ErrTableFull, sec.StateID, int(s.cfg.Start)+groups[i])
				}
				if plain || !u.Has(si, groups[i], h, key) {
					old, ok := s.states[si].groups[groups[i]].get(uint32(h), key)
					u.Record(si, groups[i], h, key, old, ok)
				}
			}
			if plain {
				s.applyOp(si, groups[i], sec.Ops[at+i], uint32(h), key, value)
			} else if err := s.applyKind(si, groups[i], sec.Ops[at+i], uint32(h), key, value); err != nil {
				return err
			}
		}
		hashes = hashes[n:]
	}
	return nil
}

// applyOp applies one checked op.
func (s *state) applyOp(si, group int, op keyed.Op, hash uint32, key, operand []byte) {
	d := &s.states[si]
	t := s.table(si, group)
	bytes, entries := t.bytes, t.entries
	switch op {
	case keyed.OpPut:
		t.put(&s.era, hash, key, operand)
	case keyed.OpDelete:
		t.remove(&s.era, hash, key)
	default:
		s.combine(t, s.cfg.States[si].Type, op, hash, key, operand)
	}
	d.bytes += t.bytes - bytes
	d.entries += int64(t.entries - entries)
}

// combine applies an op whose result depends on the value that is there.
func (s *state) combine(t *table, typ keyed.Type, op keyed.Op, hash uint32, key, operand []byte) {
	old, found := t.get(hash, key)
	value, exists := keyed.Merge(typ, op, s.merged[:0], old, found, operand)
	s.merged = value
	if exists {
		t.put(&s.era, hash, key, value)
	} else {
		t.remove(&s.era, hash, key)
	}
}

// rollback takes back what a refused batch did.
func (s *state) rollback() {
	s.undo.Rollback(func(si, group int, hash uint32, key, value []byte) {
		s.applyOp(si, group, keyed.OpPut, hash, key, value)
	}, func(si, group int, hash uint32, key []byte) {
		s.applyOp(si, group, keyed.OpDelete, hash, key, nil)
	})
}
