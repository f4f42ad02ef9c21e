package rocksdb

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// size is what is known of the bytes of a state that has a limit. Far below the
// limit it is an upper bound, which costs no read: every operation counts as a new
// key. When that reaches the limit the state is counted, and from then on its size
// is exact, for which each operation reads its key, until it is far below again.
type size struct {
	bytes   int64
	exact   bool
	unknown bool // after a restore: count first
}

// admit refuses sections after which a state would be above its limit, as keyed
// does. Nothing has happened then.
func (s *State) admit(sections []keyed.Section, nowMs int64) error {
	if !s.limited {
		return nil
	}
	next := append(s.next[:0], s.sizes...)
	s.next = next
	for i := range s.cfg.States {
		st, bound := &s.cfg.States[i], s.check.Bound(i)
		if st.MaxBytes <= 0 || bound == 0 {
			continue
		}
		if err := s.measure(&next[i], st, bound); err != nil {
			return err
		}
		if !next[i].exact {
			next[i].bytes += bound
			continue
		}
		delta, err := s.growth(i, sections, nowMs)
		if err != nil {
			return err
		}
		next[i].bytes += delta
		if next[i].bytes > st.MaxBytes {
			return &keyed.StateTooLargeError{StateID: st.ID, Bytes: next[i].bytes, Limit: st.MaxBytes}
		}
	}
	copy(s.sizes, next)
	return nil
}

// measure makes z exact if the bound could reach the limit, and lets go of
// exactness far below it.
func (s *State) measure(z *size, st *keyed.StateConfig, bound int64) error {
	if z.exact {
		z.exact = z.bytes+bound > st.MaxBytes/2
		return nil
	}
	if !z.unknown && z.bytes+bound <= st.MaxBytes {
		return nil
	}
	return s.do("count", func() error {
		n, _, err := count(s.db, st.ID)
		*z = size{bytes: n, exact: n+bound > st.MaxBytes/2}
		return err
	})
}

// growth returns what sections add to the state at an index.
func (s *State) growth(state int, sections []keyed.Section, nowMs int64) (delta int64, err error) {
	err = s.do("read", func() error {
		o := overlay{s: s}
		hashes := s.check.Hashes()
		for i := range sections {
			sec := &sections[i]
			if s.check.StateOf(i) == state {
				n, err := o.section(i, sec, hashes[:len(sec.Ops)], nowMs)
				if err != nil {
					return err
				}
				delta += n
			}
			hashes = hashes[len(sec.Ops):]
		}
		return nil
	})
	return delta, err
}

// overlay is the tree with the operations of one batch on top.
type overlay struct {
	s    *State
	keys map[string]held
	key  []byte
}

// held is what a key holds.
type held struct {
	value []byte
	found bool
}

// section applies a section and returns by how much it makes the state larger.
func (o *overlay) section(n int, sec *keyed.Section, hashes []uint64, nowMs int64) (delta int64, err error) {
	s := o.s
	st, group := &s.cfg.States[s.check.StateOf(n)], s.check.GroupOf(n)
	keys, values := sec.Keys, sec.Values
	for i, op := range sec.Ops {
		key, operand := keys[:sec.KeyLengths[i]], values[:sec.ValueLengths[i]]
		keys, values = keys[len(key):], values[len(operand):]
		g := group
		if g < 0 {
			g = s.cfg.GroupOf(hashes[i])
		}
		o.key = appendKey(o.key[:0], st.ID, s.cfg.Start+uint32(g), key)
		old, err := o.get(o.key)
		if err != nil {
			return 0, err
		}
		value, kept, err := st.Combine(nil, op, old.value, old.found, operand, nowMs)
		if err != nil {
			return 0, err
		}
		if o.keys == nil {
			o.keys = map[string]held{}
		}
		next := held{value, kept}
		o.keys[string(o.key)] = next
		delta += next.bytes(len(key)) - old.bytes(len(key))
	}
	return delta, nil
}

func (h held) bytes(key int) int64 {
	if !h.found {
		return 0
	}
	return int64(key + len(h.value))
}

// get returns what a key of the tree holds.
func (o *overlay) get(key []byte) (h held, err error) {
	if h, ok := o.keys[string(key)]; ok {
		return h, nil
	}
	v, closer, err := o.s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	value, ok, err := stored(v)
	return held{bytes.Clone(value), ok}, errors.Join(err, closer.Close())
}
