package keyed

// flush is the scratch memory of Apply, kept so that a steady state allocates
// nothing.
type flush struct {
	hashes []uint64 // of every key, over all sections
	states []int    // index in cfg.States, a section each
	groups []int    // named directory index or -1, a section each
	bound  []int64  // by state: more than the flush can add to it, in bytes
	grown  []int64  // by state: bytes of the operands that a value can grow by
	undo   Undo
	// scratch is where a value of a list, a map or a state with a TTL is made.
	scratch []byte
	nowMs   int64
	// stored: values are stored ones, as Load gets them.
	stored bool
}

// keepHashes bounds the scratch memory kept between flushes, in keys.
const keepHashes = 1 << 16

// begin empties the scratch memory for a space of n states.
func (f *flush) begin(n int, nowMs int64, stored bool) {
	if cap(f.hashes) > keepHashes {
		*f = flush{}
	}
	f.hashes, f.states, f.groups = f.hashes[:0], f.states[:0], f.groups[:0]
	f.bound, f.grown = zeroed(f.bound, n), zeroed(f.grown, n)
	f.undo.Reset()
	f.nowMs, f.stored = nowMs, stored
}

// zeroed returns n zeros, in the memory of s if they fit.
func zeroed(s []int64, n int) []int64 {
	if cap(s) < n {
		return make([]int64, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// Apply applies the sections in order, as one change: on an error nothing has
// happened, but that entries that were over may be gone. Input is copied. nowMs is
// the time by which entries with a TTL are over, in ms since 1970; it comes with the
// command. Errors: ErrUnknownSpace, ErrUnknownState, ErrMalformed, ErrTypeMismatch,
// ErrKeyTooLarge, ErrValueTooLarge, ErrStateTooLarge (*StateTooLargeError; the state
// as it would be after the last section counts, not what it passes through),
// ErrTableFull.
//
// Apply is a write.
func (s *Store) Apply(id uint64, sections []Section, nowMs int64) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	s.flush.begin(len(sp.live), nowMs, false)
	if err := s.flush.apply(sp, sections); err != nil {
		return err
	}
	sp.cleanUp(sections, nowMs)
	return nil
}

// Load is Apply of stored values, as Get and Scan return them: every op is a PUT,
// and with a TTL its value has the times. Nothing is stamped and nothing is over.
// Errors: those of Apply.
func (s *Store) Load(id uint64, sections []Section) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	s.flush.begin(len(sp.live), 0, true)
	return s.flush.apply(sp, sections)
}

func (f *flush) apply(sp *space, sections []Section) error {
	for i := range sections {
		if err := f.check(&sp.cfg, i, &sections[i]); err != nil {
			return err
		}
	}
	if f.fits(sp) && f.valuesFit(sp, sections) {
		return f.run(sp, sections, nil) // without an undo log it cannot fail
	}
	err := f.run(sp, sections, &f.undo)
	if err == nil {
		if err = f.limits(sp); err != nil && sp.dropExpired(f.nowMs) {
			err = f.limits(sp) // what is over must not make a state too large
		}
	}
	if err != nil {
		sp.rollback(&f.undo)
	}
	return err
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
func (f *flush) run(sp *space, sections []Section, u *Undo) error {
	hashes := f.hashes
	for i := range sections {
		sec := &sections[i]
		n := len(sec.Ops)
		if err := f.applySection(sp, f.states[i], f.groups[i], sec, hashes[:n], u); err != nil {
			return err
		}
		hashes = hashes[n:]
	}
	return nil
}

// applySection applies the ops of one section to the state at index si.
func (f *flush) applySection(sp *space, si, named int, sec *Section, hashes []uint64, u *Undo) error {
	d, cfg := &sp.live[si], &sp.cfg.States[si]
	plain := f.stored || cfg.plain()
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
		if u != nil && (plain || !u.Has(si, group, hashes[i], key)) {
			old, ok := d.table(group).get(uint32(hashes[i]), key)
			u.Record(si, group, hashes[i], key, old, ok)
		}
		if plain {
			sp.applyOp(d, group, cfg.Type, op, uint32(hashes[i]), key, value)
		} else if err := f.combine(sp, d, group, cfg, op, uint32(hashes[i]), key, value); err != nil {
			return err
		}
		if u != nil && op != OpDelete && d.table(group).full() {
			return wrapf(ErrTableFull, "state %d, key group %d", sec.StateID, int(sp.cfg.Start)+group)
		}
	}
	return nil
}

// applyOp applies one checked op to a plain state.
func (sp *space) applyOp(d *stateData, group int, typ Type, op Op, hash uint32, key, value []byte) {
	if op == OpDelete {
		sp.remove(d, group, hash, key)
		return
	}
	t := sp.writable(d, group)
	bytes, entries := t.bytes, t.entries
	if op == OpPut {
		t.put(hash, key, value)
	} else {
		t.add(typ, op, hash, key, value)
	}
	d.account(t, bytes, entries)
}

// remove deletes a key.
func (sp *space) remove(d *stateData, group int, hash uint32, key []byte) {
	if t := d.table(group); t == nil || t.epoch != sp.epoch {
		if _, ok := t.get(hash, key); !ok {
			return // nothing to delete is no reason to copy a table
		}
	}
	t := sp.writable(d, group)
	bytes, entries := t.bytes, t.entries
	t.remove(hash, key)
	d.account(t, bytes, entries)
}

// account adds what became of a table, which had bytes and entries before.
func (d *stateData) account(t *table, bytes int64, entries int) {
	d.bytes += t.bytes - bytes
	d.entries += int64(t.entries - entries)
}

// rollback takes back what a refused flush did.
func (sp *space) rollback(u *Undo) {
	u.Rollback(func(si, group int, hash uint32, key, value []byte) {
		sp.applyOp(&sp.live[si], group, TypeOther, OpPut, hash, key, value)
	}, func(si, group int, hash uint32, key []byte) {
		sp.remove(&sp.live[si], group, hash, key)
	})
}
