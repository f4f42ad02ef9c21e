package statevalue

import (
	"encoding/binary"
	"math"
)

// NumberBytes is the length of an int64 or float64 value.
const NumberBytes = 8

// canonicalNaN replaces every NaN that arithmetic yields: which NaN comes out
// of Inf-Inf differs between processors, and replicas must not.
const canonicalNaN uint64 = 0x7ff8000000000000

// combine returns old (op) operand as the bits of a value of type t. It is
// called with OpAdd, OpMin or OpMax and a numeric type only.
func combine(t Type, op Op, old, operand uint64) uint64 {
	if t == Float64 {
		return combineFloat(op, math.Float64frombits(old), math.Float64frombits(operand))
	}
	switch op {
	case OpAdd:
		return old + operand
	case OpMin:
		return uint64(min(int64(old), int64(operand)))
	default:
		return uint64(max(int64(old), int64(operand)))
	}
}

// combineFloat is combine for doubles: NaN wins over every number and -0 is
// below +0, as in Java's Math.min and Go's min.
func combineFloat(op Op, old, operand float64) uint64 {
	var r float64
	switch op {
	case OpAdd:
		r = old + operand
	case OpMin:
		r = min(old, operand)
	default:
		r = max(old, operand)
	}
	if r != r {
		return canonicalNaN
	}
	return math.Float64bits(r)
}

// CombineNumber replaces the 8 bytes of value by value (op) operand: OpAdd, OpMin or
// OpMax of a numeric type.
func CombineNumber(t Type, op Op, value, operand []byte) {
	old := binary.LittleEndian.Uint64(value)
	binary.LittleEndian.PutUint64(value, combine(t, op, old, binary.LittleEndian.Uint64(operand)))
}
