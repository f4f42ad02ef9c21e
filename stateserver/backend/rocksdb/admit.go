package rocksdb

import (
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
// does. Nothing has happened then, but that what was over may be gone.
func (s *State) admit(sections []keyed.Section, nowMs int64) error {
	if !s.limited {
		return nil
	}
	s.next = append(s.next[:0], s.sizes...)
	swept := false
	for i := range s.cfg.States {
		if s.cfg.States[i].MaxBytes <= 0 || s.check.Bound(i) == 0 {
			continue
		}
		did, err := s.admitState(i, sections, nowMs)
		if err != nil {
			return err
		}
		swept = swept || did
	}
	copy(s.sizes, s.next)
	if swept { // that took the batch
		return s.do("read", func() error { return s.build(sections, nowMs) })
	}
	return nil
}

// admitState is admit for one state. What is over does not make it too large.
func (s *State) admitState(i int, sections []keyed.Section, nowMs int64) (swept bool, err error) {
	st, z := &s.cfg.States[i], &s.next[i]
	for {
		if err := s.measure(z, st, s.check.Bound(i)); err != nil {
			return swept, err
		}
		if !z.exact {
			z.bytes += s.check.Bound(i)
			return swept, nil
		}
		grown, err := s.growth(i, sections, nowMs)
		if err != nil {
			return swept, err
		}
		if z.bytes+grown <= st.MaxBytes {
			z.bytes += grown
			return swept, nil
		}
		if swept || st.TTLMs == 0 {
			return swept, &keyed.StateTooLargeError{StateID: st.ID, Bytes: z.bytes + grown, Limit: st.MaxBytes}
		}
		if err := s.sweepAll(st, nowMs); err != nil {
			return swept, err
		}
		swept, *z = true, size{unknown: true}
		s.sizes[i] = *z
	}
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
func (s *State) growth(state int, sections []keyed.Section, nowMs int64) (grown int64, err error) {
	err = s.do("read", func() error {
		o := overlay{s: s, nowMs: nowMs}
		return s.eachOp(sections, func(p *pending) error {
			if p.state != state {
				return nil
			}
			o.want(p)
			n, err := o.apply(p, o.find(p))
			grown += n
			return err
		})
	})
	return grown, err
}
