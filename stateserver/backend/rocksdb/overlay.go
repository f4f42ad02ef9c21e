package rocksdb

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// overlay is some keys of the tree with the operations of one batch on top.
type overlay struct {
	s     *State
	nowMs int64
	keys  map[string]*held
	key   []byte
}

// held is what a key holds.
type held struct {
	read  bool
	value []byte
	found bool
}

// want takes the key of an operation in.
func (o *overlay) want(p *pending) {
	o.key = appendKey(o.key[:0], p.st.ID, p.group, p.key)
	if o.keys[string(o.key)] == nil {
		if o.keys == nil {
			o.keys = map[string]*held{}
		}
		o.keys[string(o.key)] = &held{}
	}
}

// find returns what the key of an operation holds, nil if it was not taken in.
func (o *overlay) find(p *pending) *held {
	o.key = appendKey(o.key[:0], p.st.ID, p.group, p.key)
	return o.keys[string(o.key)]
}

// apply applies an operation to its key, which find returned just now. It returns
// by how much the state grows. A refusal says that the value would be too large.
func (o *overlay) apply(p *pending, h *held) (grown int64, err error) {
	if !h.read {
		if err := o.read(h); err != nil {
			return 0, err
		}
	}
	value, kept, err := p.st.Combine(nil, p.op, h.value, h.found, p.operand, o.nowMs)
	if err != nil {
		return 0, err
	}
	if limit := int(o.s.cfg.MaxValueBytes); kept && len(value) > limit {
		return 0, refusal{&keyed.ValueTooLargeError{StateID: p.st.ID, KeyBytes: len(p.key), Bytes: len(value), Limit: limit}}
	}
	before := h.bytes(len(p.key))
	h.value, h.found = value, kept
	return h.bytes(len(p.key)) - before, nil
}

// bytes is what the key counts for.
func (h *held) bytes(key int) int64 {
	if !h.found {
		return 0
	}
	return int64(key + len(h.value))
}

// read reads the key that find looked up.
func (o *overlay) read(h *held) error {
	h.read = true
	v, closer, err := o.s.db.Get(o.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	value, ok, err := stored(v)
	h.value, h.found = bytes.Clone(value), ok
	return errors.Join(err, closer.Close())
}

// write adds what the keys hold now to a batch.
func (o *overlay) write(b *pebble.Batch) error {
	for key, h := range o.keys {
		var err error
		if h.found {
			err = b.Set([]byte(key), append([]byte{tagValue}, h.value...), nil)
		} else {
			err = b.Delete([]byte(key), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refusal is an error that is the caller's: nothing has happened, and the state is
// not lost.
type refusal struct{ error }

// Unwrap returns what is told to the caller.
func (r refusal) Unwrap() error { return r.error }
