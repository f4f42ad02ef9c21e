package statevalue

import (
	"errors"
	"fmt"
)

// Kind is the kind of a state, as far as ops need it. Reducing and aggregating states
// are Value.
type Kind uint8

// The kinds. The numbers are those of snapshots.
const (
	Value Kind = 0
	List  Kind = 1
	Map   Kind = 2
)

// Type is the declared type of a state, as far as ops need it: of the value, of the
// elements of a list, of the values of a map.
type Type uint8

// The types. The numbers are those of snapshots.
const (
	Other   Type = 0
	Int64   Type = 1
	Float64 Type = 2
)

// Numeric reports whether ADD, MIN and MAX are defined for the type.
func (t Type) Numeric() bool { return t == Int64 || t == Float64 }

// Fits reports whether bytes can be a value of the type.
func (t Type) Fits(value []byte) bool { return !t.Numeric() || len(value) == NumberBytes }

// size is the length of every value of the type, 0 where it varies.
func (t Type) size() int {
	if t.Numeric() {
		return NumberBytes
	}
	return 0
}

// Op is an operation on a key, by the numbers of FlushOp.
type Op = byte

// The operations.
const (
	OpPut       Op = 1
	OpDelete    Op = 2
	OpAdd       Op = 3
	OpMin       Op = 4
	OpMax       Op = 5
	OpAppend    Op = 6
	OpMapPut    Op = 7
	OpMapDelete Op = 8
)

// ErrType says that the kind and type of a state do not have an op.
var ErrType = errors.New("wrong kind or type")

// State is what a stored value must be known by.
//
// A stored value is as Get returns it: with a TTL, a time stands before the value,
// or before each element of a list or entry of a map. An empty list or map is no
// value: the key is absent.
type State struct {
	Kind Kind
	Type Type
	// TTLMs is 0 where the state has no TTL.
	TTLMs int64
}

// CheckOperand checks an operand by itself, and tells how many bytes it can add to a
// stored value: its own, and the times where there is a TTL. What passes can be
// combined with any value that a state holds. Errors: ErrMalformed, ErrType, ErrSize.
func (s State) CheckOperand(op Op, operand []byte) (size int, err error) {
	size = len(operand)
	switch {
	case op < OpPut || op > OpMapDelete:
		return 0, fmt.Errorf("%w: unknown op %d", ErrMalformed, op)
	case op == OpDelete && size != 0:
		return 0, fmt.Errorf("%w: DELETE with a value of %d bytes", ErrMalformed, size)
	case op == OpDelete:
		return 0, nil
	case !s.Allows(op):
		return 0, fmt.Errorf("%w: kind and type do not have the op %d", ErrType, op)
	case s.Kind == Value && s.Type.Numeric() && size != NumberBytes:
		return 0, fmt.Errorf("%w: number of %d bytes", ErrSize, size)
	}
	n := 1
	switch {
	case op == OpMapDelete:
		_, err = CheckKeys(operand)
		size, n = 0, 0
	case s.Kind == Map:
		n, err = CheckMap(operand, false, s.Type.size())
	case s.Kind == List:
		n, err = CheckList(operand, false, s.Type.size())
	}
	if err != nil {
		return 0, err
	}
	if s.TTLMs > 0 {
		size += n * TimeBytes
	}
	return size, nil
}

// Allows reports whether the state's kind and type have an op other than DELETE.
func (s State) Allows(op Op) bool {
	switch op {
	case OpPut:
		return true
	case OpAdd, OpMin, OpMax:
		return s.Kind == Value && s.Type.Numeric()
	case OpAppend:
		return s.Kind == List
	case OpMapPut, OpMapDelete:
		return s.Kind == Map
	}
	return false
}

// CheckStored checks a stored value, as it comes from a snapshot. Errors:
// ErrMalformed, ErrSize.
func (s State) CheckStored(stored []byte) error {
	var err error
	n, timed := 1, s.TTLMs > 0
	switch s.Kind {
	case List:
		n, err = CheckList(stored, timed, s.Type.size())
	case Map:
		n, err = CheckMap(stored, timed, s.Type.size())
	default:
		want := s.Type.size()
		if timed {
			if _, stored, err = Time(stored); err != nil {
				break
			}
		}
		if want > 0 && len(stored) != want {
			return fmt.Errorf("%w: number of %d bytes", ErrSize, len(stored))
		}
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: an empty list or map", ErrMalformed)
	}
	return nil
}

// Combine appends to dst the stored value that an op makes of old, and returns the
// longer slice. found tells that the key has old; kept is false where the key is
// absent afterwards. nowMs is the time of the op: what has a TTL and is over acts as
// absent, and what is written carries it. dst must not share memory with old or
// operand. The operand has passed CheckOperand; old is what the state holds, and
// ErrMalformed says that it is not of its kind.
func (s State) Combine(dst []byte, op Op, old []byte, found bool, operand []byte, nowMs int64) (value []byte, kept bool, err error) {
	if op == OpDelete {
		return dst, false, nil
	}
	if !found {
		old = nil
	}
	from, t := len(dst), TTL{Ms: s.TTLMs, NowMs: nowMs}
	switch {
	case s.Kind == Value:
		value, err = s.combineValue(dst, op, old, found, operand, t)
		if err != nil {
			return value, false, err
		}
		return value, true, nil
	case op == OpPut && s.Kind == List:
		value, err = StampList(dst, operand, t)
	case op == OpPut:
		value, err = StampMap(dst, operand, t)
	case op == OpAppend:
		value, err = AppendList(dst, old, operand, t)
	case op == OpMapPut:
		value, err = MergeMap(dst, old, operand, t)
	default:
		value, err = RemoveKeys(dst, old, operand, t)
	}
	if err != nil {
		return value, false, err
	}
	return value, len(value) > from, nil
}

// combineValue is Combine for one value.
func (s State) combineValue(dst []byte, op Op, old []byte, found bool, operand []byte, t TTL) ([]byte, error) {
	if t.Ms > 0 {
		dst = AppendTime(dst, t.NowMs)
	}
	if op == OpPut || !found {
		return append(dst, operand...), nil
	}
	if t.Ms > 0 {
		at, rest, err := Time(old)
		if err != nil {
			return dst, err
		}
		if t.Expired(at) {
			return append(dst, operand...), nil
		}
		old = rest
	}
	if len(old) != NumberBytes || len(operand) != NumberBytes {
		return dst, ErrSize
	}
	dst = append(dst, old...)
	CombineNumber(s.Type, op, dst[len(dst)-NumberBytes:], operand)
	return dst, nil
}

// Live returns what of a stored value is not over at nowMs: stored itself where all
// of it is, else what is left, appended to dst. found is false where nothing is.
// What is malformed is not over.
func (s State) Live(dst, stored []byte, nowMs int64) (value []byte, found bool) {
	if s.TTLMs == 0 || !s.AnyExpired(stored, nowMs) {
		return stored, true
	}
	t := TTL{Ms: s.TTLMs, NowMs: nowMs}
	from := len(dst)
	var err error
	switch s.Kind {
	case List:
		dst, err = LiveList(dst, stored, t)
	case Map:
		dst, err = LiveMap(dst, stored, t)
	default:
		return nil, false
	}
	if err != nil {
		return stored, true
	}
	return dst[from:], len(dst) > from
}

// AnyExpired reports whether a part of a stored value is over.
func (s State) AnyExpired(stored []byte, nowMs int64) bool {
	t := TTL{Ms: s.TTLMs, NowMs: nowMs}
	for len(stored) > 0 {
		var at int64
		var err error
		switch s.Kind {
		case List:
			var e Element
			e, stored, err = NextElement(stored, true)
			at = e.TimeMs
		case Map:
			var e Entry
			e, stored, err = NextEntry(stored, true)
			at = e.TimeMs
		default:
			at, _, err = Time(stored)
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
