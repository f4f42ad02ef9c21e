package rocksdb

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Apply implements backend.State. A section is checked as keyed checks it; what
// passes is one batch, which Pebble applies as a whole.
func (s *State) Apply(sections []keyed.Section, nowMs int64) error {
	if err := s.alive(); err != nil {
		return err
	}
	if err := s.check.Check(&s.cfg, sections); err != nil {
		return err
	}
	if err := s.admit(sections, nowMs); err != nil {
		return err
	}
	s.batch.Reset()
	ops := 0
	err := s.do("write", func() error {
		hashes := s.check.Hashes()
		for i := range sections {
			sec := &sections[i]
			if err := s.addSection(i, sec, hashes[ops:ops+len(sec.Ops)], nowMs); err != nil {
				return err
			}
			ops += len(sec.Ops)
		}
		return nil
	})
	if err != nil || ops == 0 {
		return err
	}
	bytes := uint64(s.batch.Len())
	s.makeRoom(bytes, uint64(ops))
	s.written.Add(int64(ops))
	err = s.do("write", func() error { return s.batch.Commit(pebble.NoSync) })
	s.room.took(bytes, uint64(ops))
	return err
}

// addSection adds the operations of a section to the batch.
func (s *State) addSection(n int, sec *keyed.Section, hashes []uint64, nowMs int64) error {
	st, group := &s.cfg.States[s.check.StateOf(n)], s.check.GroupOf(n)
	keys, values := sec.Keys, sec.Values
	for i, op := range sec.Ops {
		key, operand := keys[:sec.KeyLengths[i]], values[:sec.ValueLengths[i]]
		keys, values = keys[len(key):], values[len(operand):]
		g := group
		if g < 0 {
			g = s.cfg.GroupOf(hashes[i])
		}
		if err := s.addOp(st, s.cfg.Start+uint32(g), op, key, operand, nowMs); err != nil {
			return err
		}
	}
	return nil
}

// addOp adds one operation to the batch.
func (s *State) addOp(st *keyed.StateConfig, group uint32, op keyed.Op, key, operand []byte, nowMs int64) error {
	var d *pebble.DeferredBatchOp
	switch op {
	case keyed.OpDelete:
		d = s.batch.DeleteDeferred(keyHeader + len(key))
	case keyed.OpPut:
		d = s.batch.SetDeferred(keyHeader+len(key), 1+len(operand))
		d.Value[0] = tagValue
		copy(d.Value[1:], operand)
	default:
		d = s.batch.MergeDeferred(keyHeader+len(key), operandSize(st, operand))
		putOperand(d.Value, st, op, operand, nowMs)
	}
	putHeader(d.Key, st.ID, group)
	copy(d.Key[keyHeader:], key)
	return d.Finish()
}

// makeRoom waits for the newest cut if the memtable could become full before it is
// taken.
func (s *State) makeRoom(bytes, ops uint64) {
	if s.taking == nil {
		return
	}
	select {
	case <-s.taking.done:
		s.taking = nil
	default:
		if !s.room.fits(bytes, ops) {
			<-s.taking.done
			s.taking = nil
		}
	}
}
