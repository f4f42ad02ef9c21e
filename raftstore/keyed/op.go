package keyed

import "github.com/holdfast-io/holdfast/internal/statevalue"

// Op is one operation of a Section. The numbers are those of the wire enum
// and of the log: they never change.
type Op = statevalue.Op

// The operations. ADD, MIN and MAX are defined for TypeInt64 (ADD wraps
// around) and TypeFloat64; on an absent key the operand becomes the value. APPEND
// is defined for KindList, the last two for KindMap.
const (
	OpPut       = statevalue.OpPut
	OpDelete    = statevalue.OpDelete
	OpAdd       = statevalue.OpAdd
	OpMin       = statevalue.OpMin
	OpMax       = statevalue.OpMax
	OpAppend    = statevalue.OpAppend
	OpMapPut    = statevalue.OpMapPut
	OpMapDelete = statevalue.OpMapDelete
)
