package rocksdb

import (
	"encoding/binary"
	"errors"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// What the tree has for a key begins with a tag:
//
//	tagValue:  the stored value
//	tagOps:    operations that are not applied yet, oldest first, each
//	           op, 1 byte; with timedOp, 8 bytes of time (ms, little endian);
//	           uvarint length; operand
//	tagAbsent: operations left nothing
const (
	tagValue  byte = 0
	tagOps    byte = 1
	tagAbsent byte = 2

	// timedOp is set in the op where the state has a TTL: the operation has its time.
	timedOp byte = 0x80
)

var errValue = errors.New("a value in the tree is not what this backend writes")

// operand is one operation that waits for its value.
type operand struct {
	op    keyed.Op
	timed bool
	nowMs int64
	value []byte
}

// timed reports whether operations on a state carry their time.
func timed(st *keyed.StateConfig) bool { return st.TTLMs > 0 }

// operandSize returns the length of one operation as a merge operand.
func operandSize(st *keyed.StateConfig, value []byte) int {
	n := 1 + 1 + uvarintSize(len(value)) + len(value)
	if timed(st) {
		n += 8
	}
	return n
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// putOperand writes a merge operand of one operation; dst has operandSize.
func putOperand(dst []byte, st *keyed.StateConfig, op keyed.Op, value []byte, nowMs int64) {
	o := operand{op: op, timed: timed(st), nowMs: nowMs, value: value}
	o.append(append(dst[:0], tagOps))
}

// append appends an operation.
func (o *operand) append(dst []byte) []byte {
	if o.timed {
		dst = append(dst, o.op|timedOp)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(o.nowMs))
	} else {
		dst = append(dst, o.op)
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.value)))
	return append(dst, o.value...)
}

// nextOperand takes the first operation off a list that is not empty. The value
// is a part of the list.
func nextOperand(list []byte) (o operand, rest []byte, err error) {
	o.op, rest = list[0], list[1:]
	if o.op&timedOp != 0 {
		if len(rest) < 8 {
			return o, nil, errValue
		}
		o.op, o.timed, o.nowMs = o.op&^timedOp, true, int64(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	n, used := binary.Uvarint(rest)
	if used <= 0 || n > uint64(len(rest)-used) {
		return o, nil, errValue
	}
	o.value, rest = rest[used:used+int(n)], rest[used+int(n):]
	return o, rest, nil
}

// stored takes the tag off what a read returns; ok is false where the key is
// absent.
func stored(v []byte) (value []byte, ok bool, err error) {
	switch {
	case len(v) > 0 && v[0] == tagValue:
		return v[1:], true, nil
	case len(v) == 1 && v[0] == tagAbsent:
		return nil, false, nil
	}
	return nil, false, errValue
}
