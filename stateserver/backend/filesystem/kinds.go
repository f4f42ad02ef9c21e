package filesystem

import (
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// valuesFit reports whether no list or map can become too large, even if all operands
// for its state went to it.
func (s *state) valuesFit(sections []keyed.Section) bool {
	hashes := s.batch.Hashes()
	for i := range sections {
		sec, si := &sections[i], s.batch.StateOf(i)
		if s.cfg.States[si].Kind != keyed.KindValue && !s.sectionFits(sec, si, s.batch.GroupOf(i), hashes) {
			return false
		}
		hashes = hashes[len(sec.Ops):]
	}
	return true
}

func (s *state) sectionFits(sec *keyed.Section, si, named int, hashes []uint64) bool {
	keys := sec.Keys
	for j, op := range sec.Ops {
		key := keys[:sec.KeyLengths[j]]
		keys = keys[len(key):]
		if !keyed.Grows(op) {
			continue
		}
		group := named
		if group < 0 {
			group = s.cfg.GroupOf(hashes[j])
		}
		old, _ := s.states[si].groups[group].get(uint32(hashes[j]), key)
		if int64(len(old))+s.batch.Grown(si) > int64(s.cfg.MaxValueBytes) {
			return false
		}
	}
	return true
}

// applyKind applies one checked op to a list, a map or a value with a TTL. Errors:
// ErrValueTooLarge.
func (s *state) applyKind(si, group int, op keyed.Op, hash uint32, key, operand []byte) error {
	cfg := &s.cfg.States[si]
	old, found := s.states[si].groups[group].get(hash, key)
	value, kept, err := cfg.Combine(s.merged[:0], op, old, found, operand, s.nowMs)
	if err != nil {
		return err
	}
	s.merged = value
	switch {
	case kept && len(value) > int(s.cfg.MaxValueBytes):
		return &keyed.ValueTooLargeError{StateID: cfg.ID, KeyBytes: len(key), Bytes: len(value), Limit: int(s.cfg.MaxValueBytes)}
	case kept:
		s.applyOp(si, group, keyed.OpPut, hash, key, value)
	case found:
		s.applyOp(si, group, keyed.OpDelete, hash, key, nil)
	}
	return nil
}
