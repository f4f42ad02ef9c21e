package keyed

import (
	"errors"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// Combining is what every backend does with a key: a stored value, an op and its
// operand make another stored value. It is one set of functions, so that a key has
// the same value wherever it is kept.
//
// A stored value is as Get returns it: with a TTL, a time stands before the value,
// or before each element of a list or entry of a map (docs/protocol.md, 5.10). An
// empty list or map is no value: the key is absent.

// CheckOperand checks an operand by itself. What passes can be combined with any
// value that a state holds. Errors: ErrMalformed, ErrTypeMismatch.
func (c *StateConfig) CheckOperand(op Op, operand []byte) error {
	_, err := c.checkOperand(op, operand)
	return err
}

// checkOperand is CheckOperand, and tells how many bytes the operand can add to a
// stored value: its own, and the times where there is a TTL.
func (c *StateConfig) checkOperand(op Op, operand []byte) (size int, err error) {
	size = len(operand)
	switch {
	case op < OpPut || op > OpMapDelete:
		return 0, wrapf(ErrMalformed, "unknown op %d", op)
	case op == OpDelete && size != 0:
		return 0, wrapf(ErrMalformed, "DELETE with a value of %d bytes", size)
	case op == OpDelete:
		return 0, nil
	case !c.allows(op):
		return 0, wrapf(ErrTypeMismatch, "op %d on state %d, whose kind and type do not have it", op, c.ID)
	case c.Kind == KindValue && c.Type.numeric() && size != numberBytes:
		return 0, wrapf(ErrTypeMismatch, "state %d: number of %d bytes", c.ID, size)
	}
	n := 1
	switch {
	case op == OpMapDelete:
		_, err = statevalue.CheckKeys(operand)
		size, n = 0, 0
	case c.Kind == KindMap:
		n, err = statevalue.CheckMap(operand, false, c.Type.size())
	case c.Kind == KindList:
		n, err = statevalue.CheckList(operand, false, c.Type.size())
	}
	if errors.Is(err, statevalue.ErrSize) {
		return 0, wrapf(ErrTypeMismatch, "state %d: %v", c.ID, err)
	}
	if err != nil {
		return 0, wrapf(ErrMalformed, "state %d: %v", c.ID, err)
	}
	if c.TTLMs > 0 {
		size += n * statevalue.TimeBytes
	}
	return size, nil
}

// allows reports whether the state's kind and type have an op other than DELETE.
func (c *StateConfig) allows(op Op) bool {
	switch op {
	case OpPut:
		return true
	case OpAdd, OpMin, OpMax:
		return c.Kind == KindValue && c.Type.numeric()
	case OpAppend:
		return c.Kind == KindList
	case OpMapPut, OpMapDelete:
		return c.Kind == KindMap
	}
	return false
}

// CheckStored checks a stored value, as it comes from a snapshot. Errors:
// ErrMalformed.
func (c *StateConfig) CheckStored(stored []byte) error {
	var err error
	n, timed := 1, c.TTLMs > 0
	switch c.Kind {
	case KindList:
		n, err = statevalue.CheckList(stored, timed, c.Type.size())
	case KindMap:
		n, err = statevalue.CheckMap(stored, timed, c.Type.size())
	default:
		want := c.Type.size()
		if timed {
			if _, stored, err = statevalue.Time(stored); err != nil {
				break
			}
		}
		if want > 0 && len(stored) != want {
			return wrapf(ErrMalformed, "state %d: number of %d bytes", c.ID, len(stored))
		}
	}
	if err != nil {
		return wrapf(ErrMalformed, "state %d: %v", c.ID, err)
	}
	if n == 0 {
		return wrapf(ErrMalformed, "state %d: an empty list or map", c.ID)
	}
	return nil
}

// Combine appends to dst the stored value that an op makes of old, and returns the
// longer slice. found tells that the key has old; kept is false where the key is
// absent afterwards. nowMs is the time of the op: what has a TTL and is over acts as
// absent, and what is written carries it. dst must not share memory with old or
// operand. The operand has passed CheckOperand; old is what the state holds, and
// ErrMalformed says that it is not of its kind.
func (c *StateConfig) Combine(dst []byte, op Op, old []byte, found bool, operand []byte, nowMs int64) (value []byte, kept bool, err error) {
	if op == OpDelete {
		return dst, false, nil
	}
	if !found {
		old = nil
	}
	from, t := len(dst), statevalue.TTL{Ms: c.TTLMs, NowMs: nowMs}
	switch {
	case c.Kind == KindValue:
		value, err = c.combineValue(dst, op, old, found, operand, t)
		if err != nil {
			return value, false, wrapf(ErrMalformed, "state %d: %v", c.ID, err)
		}
		return value, true, nil
	case op == OpPut && c.Kind == KindList:
		value, err = statevalue.StampList(dst, operand, t)
	case op == OpPut:
		value, err = statevalue.StampMap(dst, operand, t)
	case op == OpAppend:
		value, err = statevalue.AppendList(dst, old, operand, t)
	case op == OpMapPut:
		value, err = statevalue.MergeMap(dst, old, operand, t)
	default:
		value, err = statevalue.RemoveKeys(dst, old, operand, t)
	}
	if err != nil {
		return value, false, wrapf(ErrMalformed, "state %d: %v", c.ID, err)
	}
	return value, len(value) > from, nil
}

// combineValue is Combine for one value.
func (c *StateConfig) combineValue(dst []byte, op Op, old []byte, found bool, operand []byte, t statevalue.TTL) ([]byte, error) {
	if t.Ms > 0 {
		dst = statevalue.AppendTime(dst, t.NowMs)
	}
	if op == OpPut || !found {
		return append(dst, operand...), nil
	}
	if t.Ms > 0 {
		at, rest, err := statevalue.Time(old)
		if err != nil {
			return dst, err
		}
		if t.Expired(at) {
			return append(dst, operand...), nil
		}
		old = rest
	}
	if len(old) != numberBytes || len(operand) != numberBytes {
		return dst, statevalue.ErrSize
	}
	dst = append(dst, old...)
	combineInPlace(c.Type, op, dst[len(dst)-numberBytes:], operand)
	return dst, nil
}

// Fold makes one op of two on the same key, the first one first, where one can say
// both: combining with it is combining with one after the other. The operand is
// appended to dst, which shares no memory with the others, and the longer slice
// returned. ok is false where there is no such op: with a TTL each carries its own
// time, sums of float64 depend on their order, and no op both puts and removes
// entries. Both operands have passed CheckOperand.
func (c *StateConfig) Fold(dst []byte, op1 Op, first []byte, op2 Op, second []byte) (op Op, operand []byte, ok bool) {
	switch {
	case op2 == OpPut || op2 == OpDelete:
		return op2, append(dst, second...), true
	case c.TTLMs > 0:
		return 0, dst, false
	case op1 == OpPut || op1 == OpDelete:
		value, kept, err := c.Combine(dst, op2, first, op1 == OpPut, second, 0)
		if err != nil || !kept {
			return OpDelete, dst, err == nil
		}
		return OpPut, value, true
	case op1 != op2:
		return 0, dst, false
	}
	return c.foldSame(dst, op1, first, second)
}

// foldSame is Fold of an op with itself, without a TTL and with a value before.
func (c *StateConfig) foldSame(dst []byte, op Op, first, second []byte) (Op, []byte, bool) {
	var out []byte
	var err error
	switch {
	case op == OpAdd && c.Type == TypeFloat64:
		return 0, dst, false
	case op == OpAppend:
		return op, append(append(dst, first...), second...), true
	case op == OpMapDelete:
		out, err = statevalue.MergeKeys(dst, first, second)
	default:
		out, _, err = c.Combine(dst, op, first, true, second, 0)
	}
	if err != nil {
		return 0, dst, false
	}
	return op, out, true
}

// Live returns what of a stored value is not over at nowMs: stored itself where all
// of it is, else what is left, appended to dst. found is false where nothing is.
// What is malformed is not over.
func (c *StateConfig) Live(dst, stored []byte, nowMs int64) (value []byte, found bool) {
	if c.TTLMs == 0 || !c.anyExpired(stored, nowMs) {
		return stored, true
	}
	t := statevalue.TTL{Ms: c.TTLMs, NowMs: nowMs}
	from := len(dst)
	var err error
	switch c.Kind {
	case KindList:
		dst, err = statevalue.LiveList(dst, stored, t)
	case KindMap:
		dst, err = statevalue.LiveMap(dst, stored, t)
	default:
		return nil, false
	}
	if err != nil {
		return stored, true
	}
	return dst[from:], len(dst) > from
}

// Visible is Live for a reader: with ReturnExpired it sees what is over until it is
// cleaned up.
func (c *StateConfig) Visible(dst, stored []byte, nowMs int64) (value []byte, found bool) {
	if c.ReturnExpired {
		return stored, true
	}
	return c.Live(dst, stored, nowMs)
}

// anyExpired reports whether a part of a stored value is over.
func (c *StateConfig) anyExpired(stored []byte, nowMs int64) bool {
	t := statevalue.TTL{Ms: c.TTLMs, NowMs: nowMs}
	for len(stored) > 0 {
		var at int64
		var err error
		switch c.Kind {
		case KindList:
			var e statevalue.Element
			e, stored, err = statevalue.NextElement(stored, true)
			at = e.TimeMs
		case KindMap:
			var e statevalue.Entry
			e, stored, err = statevalue.NextEntry(stored, true)
			at = e.TimeMs
		default:
			at, _, err = statevalue.Time(stored)
			stored = nil
		}
		if err != nil {
			return false
		}
		if t.Expired(at) {
			return true
		}
	}
	return false
}
