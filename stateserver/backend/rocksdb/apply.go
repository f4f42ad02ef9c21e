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
	if len(s.check.Hashes()) == 0 {
		return nil
	}
	if err := s.do("read", func() error { return s.build(sections, nowMs) }); err != nil {
		return err
	}
	if err := s.admit(sections, nowMs); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	return s.sweep(len(s.check.Hashes()), nowMs)
}

// pending is one operation of a batch that was checked.
type pending struct {
	section      int
	st           *keyed.StateConfig
	state        int    // index in cfg.States
	group        uint32 // key group
	hash         uint64
	op           keyed.Op
	key, operand []byte
}

// eachOp calls f for each operation, in order.
func (s *State) eachOp(sections []keyed.Section, f func(*pending) error) error {
	var p pending
	hashes := s.check.Hashes()
	for i := range sections {
		sec := &sections[i]
		p.section, p.state = i, s.check.StateOf(i)
		p.st = &s.cfg.States[p.state]
		named := s.check.GroupOf(i)
		keys, values := sec.Keys, sec.Values
		for j, op := range sec.Ops {
			p.op, p.hash = op, hashes[j]
			p.key, p.operand = keys[:sec.KeyLengths[j]], values[:sec.ValueLengths[j]]
			keys, values = keys[len(p.key):], values[len(p.operand):]
			group := named
			if group < 0 {
				group = s.cfg.GroupOf(p.hash)
			}
			p.group = s.cfg.Start + uint32(group)
			if err := f(&p); err != nil {
				return err
			}
		}
		hashes = hashes[len(sec.Ops):]
	}
	return nil
}

// build makes the batch of sections. Most operations are written unseen; the keys
// of those that cannot be are read first, and have their value written.
func (s *State) build(sections []keyed.Section, nowMs int64) error {
	s.batch.Reset()
	o := overlay{s: s, nowMs: nowMs}
	if err := s.findReads(&o, sections); err != nil {
		return err
	}
	err := s.inOrder(sections, func(p *pending) error {
		if len(o.keys) > 0 {
			if h := o.find(p); h != nil {
				_, err := o.apply(p, h)
				return err
			}
		}
		return s.addOp(p, nowMs)
	})
	if err != nil {
		return err
	}
	return o.write(s.batch)
}

// inOrder is eachOp, with the operations of each section by key: what counts is the
// order of operations on one key.
func (s *State) inOrder(sections []keyed.Section, f func(*pending) error) error {
	defer s.letGo() // the input is only borrowed
	s.ops, s.order = s.ops[:0], s.order[:0]
	err := s.eachOp(sections, func(p *pending) error {
		if len(s.ops) > 0 && s.ops[0].section != p.section {
			if err := s.putInOrder(f); err != nil {
				return err
			}
		}
		s.ops = append(s.ops, *p)
		s.order.add(p.group, p.key)
		return nil
	})
	if err != nil {
		return err
	}
	return s.putInOrder(f)
}

// keepOps bounds the scratch memory that is kept between batches, in operations.
const keepOps = 1 << 14

func (s *State) letGo() {
	if cap(s.ops) > keepOps {
		s.ops, s.order = nil, nil
	}
	clear(s.ops[:cap(s.ops)])
}

func (s *State) putInOrder(f func(*pending) error) error {
	s.order.sort(func(at uint32) []byte { return s.ops[at].key })
	for _, p := range s.order {
		if err := f(&s.ops[p.at]); err != nil {
			return err
		}
	}
	s.ops, s.order = s.ops[:0], s.order[:0]
	return nil
}

// addOp adds one operation to the batch.
func (s *State) addOp(p *pending, nowMs int64) error {
	var d *pebble.DeferredBatchOp
	switch {
	case p.op == keyed.OpDelete:
		d = s.batch.DeleteDeferred(keyHeader + len(p.key))
	case p.op == keyed.OpPut && plain(p.st):
		d = s.batch.SetDeferred(keyHeader+len(p.key), 1+len(p.operand))
		d.Value[0] = tagValue
		copy(d.Value[1:], p.operand)
	case p.op == keyed.OpPut:
		return s.addPut(p, nowMs)
	default:
		d = s.batch.MergeDeferred(keyHeader+len(p.key), operandSize(p.st, p.operand))
		putOperand(d.Value, p.st, p.op, p.operand, nowMs)
	}
	putHeader(d.Key, p.st.ID, p.group)
	copy(d.Key[keyHeader:], p.key)
	return d.Finish()
}

// addPut adds a PUT of a list, a map, or a value with a TTL.
func (s *State) addPut(p *pending, nowMs int64) error {
	value, kept, err := p.st.Combine(append(s.value[:0], tagValue), keyed.OpPut, nil, false, p.operand, nowMs)
	if err != nil {
		return err
	}
	s.value = value
	s.key = appendKey(s.key[:0], p.st.ID, p.group, p.key)
	if !kept {
		return s.batch.Delete(s.key, nil)
	}
	return s.batch.Set(s.key, value, nil)
}

// commit gives the batch to the tree.
func (s *State) commit() error {
	bytes, ops := uint64(s.batch.Len()), uint64(s.batch.Count())
	s.makeRoom(bytes, ops)
	s.written.Add(int64(ops))
	err := s.do("write", func() error { return s.batch.Commit(pebble.NoSync) })
	s.room.took(bytes, ops)
	return err
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
			s.settle()
		}
	}
}

// settle waits for the newest cut.
func (s *State) settle() {
	if s.taking != nil {
		<-s.taking.done
		s.taking = nil
	}
}
