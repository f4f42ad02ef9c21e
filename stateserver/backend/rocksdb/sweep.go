package rocksdb

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// sweeper walks through the states with a TTL, for ever, and removes what is over.
type sweeper struct {
	states []int  // indexes in cfg.States of those with a TTL
	state  int    // index in states
	after  []byte // key of the tree, nil: from the start of the state
}

const (
	// sweepPerBatch and sweepPerOp are how many entries a batch pays for.
	sweepPerBatch = 64
	sweepPerOp    = 1
)

// sweep goes on with the removal of what is over, after a batch of ops.
func (s *State) sweep(ops int, nowMs int64) error {
	w := &s.sweeper
	if len(w.states) == 0 || nowMs == 0 {
		return nil
	}
	err := s.do("sweep", func() error {
		s.batch.Reset()
		i := w.states[w.state]
		last, freed, err := s.expire(&s.cfg.States[i], w.after, sweepPerBatch+sweepPerOp*ops, nowMs)
		s.sizes[i].bytes -= freed
		if w.after = append(w.after[:0], last...); last == nil {
			w.after, w.state = nil, (w.state+1)%len(w.states)
		}
		return err
	})
	if err != nil || s.batch.Empty() {
		return err
	}
	return s.commit()
}

// expire puts the removal of what is over among at most n entries behind a key into
// the batch. It returns the last key, nil at the end of the state, and the bytes that
// become free.
func (s *State) expire(st *keyed.StateConfig, after []byte, n int, nowMs int64) (last []byte, freed int64, err error) {
	lower, upper := stateBounds(st.ID)
	if after != nil {
		lower = append(bytes.Clone(after), 0)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if n--; n < 0 {
			return last, freed, nil
		}
		last = append(last[:0], it.Key()...)
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		value, there, err := stored(v)
		if err != nil {
			return nil, 0, err
		}
		if there {
			live, found := st.Live(nil, value, nowMs)
			if found && len(live) == len(value) {
				continue
			}
			freed += int64(len(value) - len(live))
			if value, there = live, found; there {
				if err := s.batch.Set(last, append([]byte{tagValue}, value...), nil); err != nil {
					return nil, 0, err
				}
				continue
			}
			freed += int64(len(last) - keyHeader)
		}
		if err := s.batch.Delete(last, nil); err != nil {
			return nil, 0, err
		}
	}
	return nil, freed, it.Error()
}

// sweepAll removes everything that is over from a state.
func (s *State) sweepAll(st *keyed.StateConfig, nowMs int64) error {
	var after []byte
	for {
		err := s.do("sweep", func() (err error) {
			s.batch.Reset()
			after, _, err = s.expire(st, after, 1<<12, nowMs)
			return err
		})
		if err != nil {
			return err
		}
		if !s.batch.Empty() {
			if err := s.commit(); err != nil {
				return err
			}
		}
		if after == nil {
			return nil
		}
	}
}
