package boltbackend

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// change is one Apply.
type change struct {
	s      *State
	bucket *bbolt.Bucket
	nowMs  int64
	totals []total
	key    []byte
}

// section applies one section. keyed.StateConfig.Combine is what every backend does
// with a key.
func (c *change) section(n int, sec *keyed.Section, hashes []uint64) error {
	s := c.s
	state, named := s.check.StateOf(n), s.check.GroupOf(n)
	st, keys, values := &s.cfg.States[state], sec.Keys, sec.Values
	for i, op := range sec.Ops {
		key, operand := keys[:sec.KeyLengths[i]], values[:sec.ValueLengths[i]]
		keys, values = keys[len(key):], values[len(operand):]
		group, err := s.groupOf(named, hashes[i])
		if err != nil {
			return err
		}
		c.key = appendKey(c.key[:0], st.ID, group, key)
		old := c.bucket.Get(c.key)
		value, kept, err := st.Combine(nil, op, old, old != nil, operand, c.nowMs)
		if err != nil {
			return err
		}
		if limit := int(s.cfg.MaxValueBytes); kept && len(value) > limit {
			return &keyed.ValueTooLargeError{StateID: st.ID, KeyBytes: len(key), Bytes: len(value), Limit: limit}
		}
		if err := c.set(&c.totals[state], c.key, old, value, kept); err != nil {
			return err
		}
	}
	return nil
}

// set makes a key hold a value, or nothing.
func (c *change) set(t *total, key, old, value []byte, kept bool) error {
	user := int64(len(key) - 6)
	if old != nil {
		t.bytes, t.entries = t.bytes-user-int64(len(old)), t.entries-1
	}
	if !kept {
		return c.bucket.Delete(key)
	}
	t.bytes, t.entries = t.bytes+user+int64(len(value)), t.entries+1
	if value == nil {
		value = []byte{} // bbolt has nil for an absent key
	}
	return c.bucket.Put(bytes.Clone(key), value)
}

// limits refuses the change if a state is too large after it. What is over does not
// count.
func (c *change) limits() error {
	for i := range c.s.cfg.States {
		st := &c.s.cfg.States[i]
		if st.MaxBytes == 0 || c.s.check.Bound(i) == 0 || c.totals[i].bytes <= st.MaxBytes {
			continue
		}
		if st.TTLMs > 0 {
			if err := c.removeExpired(i); err != nil {
				return err
			}
		}
		if n := c.totals[i].bytes; n > st.MaxBytes {
			return &keyed.StateTooLargeError{StateID: st.ID, Bytes: n, Limit: st.MaxBytes}
		}
	}
	return nil
}

// removeExpired removes what is over from a state.
func (c *change) removeExpired(state int) error {
	st := &c.s.cfg.States[state]
	type entry struct{ key, old, live []byte }
	var over []entry
	cur := c.bucket.Cursor()
	for k, v := cur.Seek(appendKey(nil, st.ID, 0, nil)); k != nil; k, v = cur.Next() {
		if id, _, _ := splitKey(k); id != st.ID {
			break
		}
		live, found := st.Live(nil, v, c.nowMs)
		if !found {
			live = nil
		}
		if len(live) != len(v) {
			over = append(over, entry{bytes.Clone(k), bytes.Clone(v), bytes.Clone(live)})
		}
	}
	for _, e := range over {
		if err := c.set(&c.totals[state], e.key, e.old, e.live, e.live != nil); err != nil {
			return err
		}
	}
	return nil
}
