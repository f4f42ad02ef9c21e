package rocksdb

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Get implements backend.State.
func (s *State) Get(stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error {
	if err := s.alive(); err != nil {
		return err
	}
	si, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return err
	}
	group, err := s.cfg.CheckKeys(keyGroup, keyLengths, keys)
	if err != nil {
		return err
	}
	if group < 0 {
		if err := s.owns(keyLengths, keys); err != nil {
			return err
		}
	}
	before := *dst
	err = s.do("read", func() error {
		return s.getAll(&s.cfg.States[si], group, keyLengths, keys, dst, nowMs)
	})
	if err != nil {
		*dst = before
	}
	return err
}

// owns checks that every key is the subtask's.
func (s *State) owns(lengths []uint32, keys []byte) error {
	for _, n := range lengths {
		hash := keyed.HashKey(keys[:n])
		if g := s.cfg.GroupOf(hash); g < 0 || g >= int(s.cfg.End-s.cfg.Start) {
			return s.cfg.ForeignKey(hash)
		}
		keys = keys[n:]
	}
	return nil
}

// getAll appends a row a key until dst is full.
func (s *State) getAll(st *keyed.StateConfig, group int, lengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error {
	from := len(dst.Values)
	for _, n := range lengths {
		key := keys[:n]
		keys = keys[n:]
		g := group
		if g < 0 {
			g = s.cfg.GroupOf(keyed.HashKey(key))
		}
		s.key = appendKey(s.key[:0], st.ID, s.cfg.Start+uint32(g), key)
		more, err := s.getOne(st, s.key, dst, from, nowMs)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// getOne appends the row of one key; more is false if there was no room.
func (s *State) getOne(st *keyed.StateConfig, key []byte, dst *keyed.Values, from int, nowMs int64) (more bool, err error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst.Add(nil, false, from), nil
	}
	if err != nil {
		return false, err
	}
	value, ok, err := stored(v)
	if ok && st.TTLMs > 0 && nowMs != 0 {
		value, ok = st.Visible(nil, value, nowMs)
	}
	if err == nil {
		more = dst.Add(value, ok, from)
	}
	return more, errors.Join(err, closer.Close())
}
