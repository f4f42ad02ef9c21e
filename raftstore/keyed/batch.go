package keyed

import (
	"errors"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// Batch is the checking half of Store.Apply for state that is kept elsewhere, as
// backends on hosts do: what it has checked cannot fail on application but for
// size. It is used again for the next batch, so that a steady state allocates
// nothing. What a list or a map may grow by is checked where it is combined
// (StateConfig.Combine, ValueTooLargeError). The zero Batch is ready; it is for one goroutine at a time.
type Batch struct {
	flush flush
}

// Check checks sections against a normalized configuration, hashes every key
// once and adds up what the batch may grow each state by. Errors: those of
// Store.Apply but for ErrStateTooLarge and ErrTableFull.
func (b *Batch) Check(cfg *SpaceConfig, sections []Section) error {
	f := &b.flush
	f.begin(len(cfg.States), 0, false)
	for i := range sections {
		if err := f.check(cfg, i, &sections[i]); err != nil {
			return err
		}
	}
	return nil
}

// Hashes returns the hash of every key, over all sections in order. It is valid
// until the next Check.
func (b *Batch) Hashes() []uint64 { return b.flush.hashes }

// StateOf returns the index in cfg.States of the state of a section.
func (b *Batch) StateOf(section int) int { return b.flush.states[section] }

// GroupOf returns the key group that a section names, relative to cfg.Start, or
// -1 where the hash of each key decides (SpaceConfig.GroupOf).
func (b *Batch) GroupOf(section int) int { return b.flush.groups[section] }

// Bound returns more bytes than the batch can add to the state at an index, 0 if
// it does not touch it.
func (b *Batch) Bound(state int) int64 { return b.flush.bound[state] }

// Grown returns the most bytes by which all operands of the batch for the state at an
// index can make one value longer.
func (b *Batch) Grown(state int) int64 { return b.flush.grown[state] }

// Grows reports whether the length of a value after an op depends on the one before.
func Grows(op Op) bool { return grows(op) }

// Plain reports whether the ops of a state need nothing but the operand and a number:
// no list or map to look into, and no times.
func (c *StateConfig) Plain() bool { return c.plain() }

// Normalize returns a copy with defaults filled in and states sorted by id.
// Errors: ErrMalformed for a configuration that cannot be.
func (c SpaceConfig) Normalize() (SpaceConfig, error) { return c.normalize() }

// StateIndex returns the position of a state in States. Errors: ErrUnknownState.
func (c *SpaceConfig) StateIndex(id uint32) (int, error) { return c.stateIndex(id) }

// GroupOf returns the key group of a key by the hash of Batch or HashKey, relative
// to Start. It is below 0 or beyond the last for a key of another subtask.
func (c *SpaceConfig) GroupOf(hash uint64) int {
	return int(groupOf(hash, c.NumGroups)) - int(c.Start)
}

// CheckKeys checks a column of keys that is only read, and the key group that
// goes with it. It returns the key group relative to Start, or -1 where the hash
// of each key decides. Errors: ErrMalformed, ErrKeyTooLarge.
func (c *SpaceConfig) CheckKeys(keyGroup int64, lengths []uint32, keys []byte) (group int, err error) {
	if group, err = c.namedGroup(keyGroup); err != nil {
		return 0, err
	}
	return group, checkKeys(c, lengths, keys)
}

// ForeignKey is the error of a key whose key group the subtask does not have.
func (c *SpaceConfig) ForeignKey(hash uint64) error {
	_, err := c.group(hash)
	return err
}

// Merge is StateConfig.Combine for states of one value without a TTL: it appends to
// dst what a key holds after one checked op, and reports whether it is there then.
// old is its value before, if it was found.
func Merge(typ Type, op Op, dst, old []byte, found bool, operand []byte) (value []byte, exists bool) {
	switch {
	case op == OpDelete:
		return dst, false
	case op == OpPut || !found:
		return append(dst, operand...), true
	}
	at := len(dst)
	dst = append(dst, old...)
	statevalue.CombineNumber(typ, op, dst[at:], operand)
	return dst, true
}

// Add appends a row unless it would pass MaxBytes, and tells whether there was
// room. from is the length of v.Values when the call of Get began.
func (v *Values) Add(value []byte, found bool, from int) bool { return v.add(value, found, from) }

// Add appends an entry unless it would pass maxBytes, and tells whether there was
// room. The first entry always has.
func (p *Page) Add(keyGroup uint32, key, value []byte, maxBytes int) bool {
	return p.add(keyGroup, key, value, maxBytes)
}

// Last returns the cursor after the last entry of a page that has one.
func (p *Page) Last() Cursor { return p.last() }

// Refusal tells whether an error of Apply is one of those that say "not applied": the
// state is as it was, and the batch is to blame.
func Refusal(err error) bool {
	for _, e := range []error{ErrUnknownState, ErrMalformed, ErrTypeMismatch, ErrKeyTooLarge, ErrValueTooLarge, ErrStateTooLarge, ErrTableFull} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
