package rocksdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// mergerName is kept in each tree; a tree is opened with the merger of its name.
const mergerName = "holdfast.keyed.1"

// newMerger returns the merge operator of a tree: it makes a value of the
// operations on it exactly as keyed would have, one after the other.
func newMerger(cfg *keyed.SpaceConfig) *pebble.Merger {
	return &pebble.Merger{Name: mergerName, Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		state, _, _, ok := splitKey(key)
		if !ok {
			return nil, errValue
		}
		i, err := cfg.StateIndex(state)
		if err != nil {
			return nil, fmt.Errorf("merge: %w", err)
		}
		m := &merge{st: &cfg.States[i]}
		m.ops = m.room[:0]
		return m, m.MergeOlder(value)
	}}
}

// merge collects what a tree has for one key. Pebble hands it either from the
// newest on or from the oldest on.
type merge struct {
	st *keyed.StateConfig
	// base is the stored value below the operations, if it was met.
	base  []byte
	found bool // the base is a value
	met   bool // there is no need to know what is older
	// ops are in the order in which they came; neighbours that can be one are.
	ops   []operand
	newer bool // from the oldest on
	room  [1]operand
}

// MergeOlder implements pebble.ValueMerger.
func (m *merge) MergeOlder(v []byte) error {
	if len(v) == 0 || m.met {
		return errValue
	}
	if v[0] != tagOps {
		return m.setBase(v)
	}
	var few [1]operand
	list := few[:0]
	for v = v[1:]; len(v) > 0; {
		o, rest, err := nextOperand(v)
		if err != nil {
			return err
		}
		list, v = append(list, o), rest
	}
	for _, o := range slices.Backward(list) {
		m.add(&o)
	}
	return nil
}

// MergeNewer implements pebble.ValueMerger.
func (m *merge) MergeNewer(v []byte) error {
	if len(v) == 0 {
		return errValue
	}
	if !m.newer {
		m.newer = true
		slices.Reverse(m.ops) // of the operand that came first
	}
	if v[0] != tagOps {
		m.ops, m.met = m.ops[:0], false // a value replaces what is older
		return m.setBase(v)
	}
	for v = v[1:]; len(v) > 0; {
		o, rest, err := nextOperand(v)
		if err != nil {
			return err
		}
		m.add(&o)
		v = rest
	}
	return nil
}

func (m *merge) setBase(v []byte) error {
	value, ok, err := stored(v)
	if err != nil {
		return err
	}
	m.base, m.found, m.met = append(m.base[:0], value...), ok, true
	return nil
}

// add takes one operation, whose value is only borrowed. It becomes one with the
// last if it can.
func (m *merge) add(o *operand) {
	if n := len(m.ops); n > 0 && m.fold(&m.ops[n-1], o) {
		return
	}
	own := *o
	own.value = bytes.Clone(o.value)
	m.ops = append(m.ops, own)
}

// fold makes one operation of the last one and o, if their kind allows it.
func (m *merge) fold(last, o *operand) bool {
	if last.timed || o.timed || o.op == keyed.OpAppend {
		return false // lists are put together at the end, once
	}
	first, second := last, o
	if !m.newer {
		first, second = o, last
	}
	var small [8]byte
	op, value, ok := m.st.Fold(small[:0], first.op, first.value, second.op, second.value)
	if !ok {
		return false
	}
	last.op, last.value = op, append(last.value[:0], value...)
	return true
}

// Finish implements pebble.ValueMerger.
func (m *merge) Finish(includesBase bool) ([]byte, io.Closer, error) {
	if !m.newer {
		slices.Reverse(m.ops)
		m.newer = true
	}
	m.joinLists()
	if m.met || includesBase {
		v, err := m.apply()
		return v, nil, err
	}
	n := 1
	for i := range m.ops {
		n += len(m.ops[i].value) + 1 + 8 + binary.MaxVarintLen32
	}
	out := append(make([]byte, 0, n), tagOps)
	for i := range m.ops {
		out = m.ops[i].append(out)
	}
	return out, nil, nil
}

// joinLists makes neighbouring APPENDs one.
func (m *merge) joinLists() {
	if m.st.Kind != keyed.KindList || m.st.TTLMs > 0 || len(m.ops) == 0 {
		return
	}
	ops := m.ops[:1]
	for i := range m.ops[1:] {
		o, last := &m.ops[1+i], &ops[len(ops)-1]
		if o.op == keyed.OpAppend && last.op == keyed.OpAppend {
			last.value = append(last.value, o.value...)
			continue
		}
		ops = append(ops, *o)
	}
	m.ops = ops
}

// apply applies the operations to the base.
func (m *merge) apply() ([]byte, error) {
	value, found := m.base, m.found
	out := make([]byte, 0, 16)
	var spare []byte
	for i := range m.ops {
		o := &m.ops[i]
		next, kept, err := m.st.Combine(append(out[:0], tagValue), o.op, value, found, o.value, o.nowMs)
		if err != nil {
			return nil, err
		}
		out, spare = spare, next // the next round may not write over its own input
		value, found = next[1:], kept
	}
	if !found {
		return []byte{tagAbsent}, nil
	}
	if len(m.ops) == 0 {
		return append([]byte{tagValue}, value...), nil
	}
	return spare, nil
}
