package keyed

import "github.com/holdfast-io/holdfast/internal/statevalue"

// plain reports whether the ops of a state need nothing but the operand and a
// number: no list or map to look into, and no times.
func (c *StateConfig) plain() bool { return c.Kind == KindValue && c.TTLMs == 0 }

// grows reports whether the length of a value after op depends on the one before.
func grows(op Op) bool { return op == OpAppend || op == OpMapPut }

// valuesFit reports whether no list or map can become too large, even if all
// operands for its state went to it. Most flushes fit.
func (f *flush) valuesFit(sp *space, sections []Section) bool {
	hashes := f.hashes
	for i := range sections {
		sec, si := &sections[i], f.states[i]
		limit := int64(sp.cfg.MaxValueBytes)
		if sp.cfg.States[si].Kind != KindValue && !f.stored {
			keys := sec.Keys
			for j, op := range sec.Ops {
				key := keys[:sec.KeyLengths[j]]
				keys = keys[len(key):]
				if !grows(op) {
					continue
				}
				group := f.groups[i]
				if group < 0 {
					group = int(groupOf(hashes[j], sp.cfg.NumGroups) - sp.cfg.Start)
				}
				old, _ := sp.live[si].table(group).get(uint32(hashes[j]), key)
				if int64(len(old))+f.grown[si] > limit {
					return false
				}
			}
		}
		hashes = hashes[len(sec.Ops):]
	}
	return true
}

// combine applies one checked op to a state that is not plain. Errors:
// ErrValueTooLarge; ErrMalformed cannot be, since a state holds what was checked.
func (f *flush) combine(sp *space, d *stateData, group int, cfg *StateConfig, op Op, hash uint32, key, operand []byte) error {
	if op == OpDelete {
		sp.remove(d, group, hash, key)
		return nil
	}
	t := statevalue.TTL{Ms: cfg.TTLMs, NowMs: f.nowMs}
	old, found := d.table(group).get(hash, key)
	var kept bool
	var err error
	if op == OpAppend && found && !statevalue.HeadExpired(old, t) {
		if f.scratch, err = statevalue.StampList(f.scratch[:0], operand, t); err != nil {
			return wrapf(ErrMalformed, "state %d: %v", cfg.ID, err)
		}
		return f.extend(sp, d, group, cfg, hash, key, old)
	}
	if f.scratch, kept, err = cfg.Combine(f.scratch[:0], op, old, found, operand, f.nowMs); err != nil {
		return err
	}
	switch {
	case kept && len(f.scratch) > int(sp.cfg.MaxValueBytes):
		return valueTooLarge(cfg, key, len(f.scratch), sp.cfg.MaxValueBytes)
	case kept:
		sp.applyOp(d, group, TypeOther, OpPut, hash, key, f.scratch)
	case found:
		sp.remove(d, group, hash, key)
	}
	return nil
}

// extend puts what is in scratch behind the value of a key.
func (f *flush) extend(sp *space, d *stateData, group int, cfg *StateConfig, hash uint32, key, old []byte) error {
	if size := len(old) + len(f.scratch); size > int(sp.cfg.MaxValueBytes) {
		return valueTooLarge(cfg, key, size, sp.cfg.MaxValueBytes)
	}
	if len(f.scratch) == 0 {
		return nil
	}
	t := sp.writable(d, group)
	bytes := t.bytes
	t.extend(hash, key, f.scratch)
	d.account(t, bytes, t.entries)
	return nil
}

func valueTooLarge(cfg *StateConfig, key []byte, size int, limit uint32) error {
	return &ValueTooLargeError{StateID: cfg.ID, KeyBytes: len(key), Bytes: size, Limit: int(limit)}
}
