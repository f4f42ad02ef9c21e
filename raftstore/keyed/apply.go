package keyed

// flush is the scratch memory of Apply, kept so that a steady state allocates
// nothing.
type flush struct {
	hashes []uint64 // of every key, over all sections
	states []int    // index in cfg.States, a section each
	groups []int    // named directory index or -1, a section each
	bound  []int64  // by state: more than the flush can add to it, in bytes
	undo   undo
}

// keepHashes bounds the scratch memory kept between flushes, in keys.
const keepHashes = 1 << 16

// begin empties the scratch memory for a space of n states.
func (f *flush) begin(n int) {
	if cap(f.hashes) > keepHashes {
		*f = flush{}
	}
	f.hashes, f.states, f.groups = f.hashes[:0], f.states[:0], f.groups[:0]
	f.bound = append(f.bound[:0], make([]int64, n)...)
	f.undo.reset()
}

// Apply applies the sections in order, as one change: on an error nothing has
// happened. Input is copied. Errors: ErrUnknownSpace, ErrUnknownState,
// ErrMalformed, ErrTypeMismatch, ErrKeyTooLarge, ErrValueTooLarge,
// ErrStateTooLarge (*StateTooLargeError; the state as it would be after the
// last section counts, not what it passes through), ErrTableFull.
//
// Apply is a write.
func (s *Store) Apply(id uint64, sections []Section) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	f := &s.flush
	f.begin(len(sp.live))
	for i := range sections {
		if err := f.check(&sp.cfg, i, &sections[i]); err != nil {
			return err
		}
	}
	if f.fits(sp) {
		return f.run(sp, sections, nil) // without an undo log it cannot fail
	}
	if err := f.run(sp, sections, &f.undo); err != nil {
		f.undo.rollback(sp)
		return err
	}
	if err := f.limits(sp); err != nil {
		f.undo.rollback(sp)
		return err
	}
	return nil
}

// fits reports whether no limit can be reached even if every key is new. Most
// flushes fit, and then nothing has to be kept for a rollback.
func (f *flush) fits(sp *space) bool {
	for i := range sp.live {
		if f.bound[i] == 0 {
			continue
		}
		d, limit := &sp.live[i], sp.cfg.States[i].MaxBytes
		if limit > 0 && d.bytes+f.bound[i] > limit {
			return false
		}
		if d.bytes+d.entries*entryHeader+f.bound[i] > maxTableBytes {
			return false
		}
	}
	return true
}

// limits checks the states that the flush touched as they are now.
func (f *flush) limits(sp *space) error {
	for i := range sp.live {
		limit := sp.cfg.States[i].MaxBytes
		if f.bound[i] > 0 && limit > 0 && sp.live[i].bytes > limit {
			return &StateTooLargeError{StateID: sp.cfg.States[i].ID, Bytes: sp.live[i].bytes, Limit: limit}
		}
	}
	return nil
}

// run applies checked sections. With an undo log it also watches the size of
// each table, and may stop with an error to be rolled back.
func (f *flush) run(sp *space, sections []Section, u *undo) error {
	hashes := f.hashes
	for i := range sections {
		sec := &sections[i]
		n := len(sec.Ops)
		if err := sp.applySection(f.states[i], f.groups[i], sec, hashes[:n], u); err != nil {
			return err
		}
		hashes = hashes[n:]
	}
	return nil
}

// applySection applies the ops of one section to the state at index si.
func (sp *space) applySection(si, named int, sec *Section, hashes []uint64, u *undo) error {
	d, typ := &sp.live[si], sp.cfg.States[si].Type
	keys, values := sec.Keys, sec.Values
	for i, op := range sec.Ops {
		if i%warmBatch == 0 {
			d.warm(&sp.cfg, named, hashes[i:])
		}
		key, value := keys[:sec.KeyLengths[i]], values[:sec.ValueLengths[i]]
		keys, values = keys[len(key):], values[len(value):]
		group := named
		if group < 0 {
			group = int(groupOf(hashes[i], sp.cfg.NumGroups) - sp.cfg.Start)
		}
		if u != nil {
			u.record(si, group, hashes[i], key, d.table(group))
		}
		sp.applyOp(d, group, typ, op, uint32(hashes[i]), key, value)
		if u != nil && op != OpDelete && d.table(group).logicalBytes() > maxTableBytes {
			return wrapf(ErrTableFull, "state %d, key group %d", sec.StateID, int(sp.cfg.Start)+group)
		}
	}
	return nil
}

// applyOp applies one checked op.
func (sp *space) applyOp(d *stateData, group int, typ Type, op Op, hash uint32, key, value []byte) {
	if op == OpDelete {
		if t := d.table(group); t == nil || t.epoch != sp.epoch {
			if _, ok := t.get(hash, key); !ok {
				return // nothing to delete is no reason to copy a table
			}
		}
	}
	t := sp.writable(d, group)
	bytes, entries := t.bytes, t.entries
	switch op {
	case OpPut:
		t.put(hash, key, value)
	case OpDelete:
		t.remove(hash, key)
	default:
		t.add(typ, op, hash, key, value)
	}
	d.bytes += t.bytes - bytes
	d.entries += int64(t.entries - entries)
}
