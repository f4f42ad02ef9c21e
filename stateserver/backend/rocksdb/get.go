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
	before := *dst
	l := &s.lookup
	l.st, l.nowMs = &s.cfg.States[si], nowMs
	for more := true; more && len(keyLengths) > 0; {
		n := min(len(keyLengths), lookupKeys)
		if keys, err = l.take(&s.cfg, group, keyLengths[:n], keys); err == nil {
			err = s.do("read", func() error { return l.read(s.db) })
		}
		if err != nil {
			*dst = before
			return err
		}
		keyLengths, more = keyLengths[n:], l.emit(dst, len(before.Values))
	}
	return nil
}

// lookupKeys is how many keys are put in order at a time.
const lookupKeys = 1 << 10

// lookup is the scratch memory of Get.
type lookup struct {
	st    *keyed.StateConfig
	nowMs int64

	keys   [][]byte // in the caller's memory
	groups []uint32
	order  order
	key    []byte // of the tree
	rows   []row
	values []byte
}

// row is what was found for a key: a part of values.
type row struct {
	from, to int
	found    bool
}

// take takes a number of keys and returns the rest of them.
func (l *lookup) take(cfg *keyed.SpaceConfig, named int, lengths []uint32, keys []byte) (rest []byte, err error) {
	l.keys, l.groups, l.order = l.keys[:0], l.groups[:0], l.order[:0]
	for _, n := range lengths {
		key := keys[:n]
		keys = keys[n:]
		group := named
		if group < 0 {
			hash := keyed.HashKey(key)
			if group = cfg.GroupOf(hash); group < 0 || group >= int(cfg.End-cfg.Start) {
				return nil, cfg.ForeignKey(hash)
			}
		}
		l.keys, l.groups = append(l.keys, key), append(l.groups, cfg.Start+uint32(group))
		l.order.add(uint32(group), key)
	}
	return keys, nil
}

// read looks the keys up in the order of the tree.
func (l *lookup) read(db *pebble.DB) error {
	l.order.sort(func(at uint32) []byte { return l.keys[at] })
	l.rows = append(l.rows[:0], make([]row, len(l.keys))...)
	l.values = l.values[:0]
	for _, p := range l.order {
		l.key = appendKey(l.key[:0], l.st.ID, l.groups[p.at], l.keys[p.at])
		if err := l.readOne(db, &l.rows[p.at]); err != nil {
			return err
		}
	}
	return nil
}

func (l *lookup) readOne(db *pebble.DB, r *row) error {
	v, closer, err := db.Get(l.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	value, ok, err := stored(v)
	if ok && l.st.TTLMs > 0 && l.nowMs != 0 {
		value, ok = l.st.Visible(nil, value, l.nowMs)
	}
	r.from, r.found = len(l.values), ok
	l.values = append(l.values, value...)
	r.to = len(l.values)
	if closed := closer.Close(); err == nil {
		err = closed
	}
	return err
}

// emit appends the rows in the caller's order; more is false once there was no room.
func (l *lookup) emit(dst *keyed.Values, from int) (more bool) {
	for _, r := range l.rows {
		if !dst.Add(l.values[r.from:r.to], r.found, from) {
			return false
		}
	}
	return true
}
