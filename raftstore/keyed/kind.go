package keyed

import "github.com/holdfast-io/holdfast/internal/statevalue"

// Kind is what the ops need to know of a state's kind. Reducing and aggregating
// states are KindValue here.
type Kind = statevalue.Kind

// The kinds. docs/protocol.md, 5.9, has the encoding of lists and maps.
const (
	KindValue = statevalue.Value
	KindList  = statevalue.List
	KindMap   = statevalue.Map
)

// Type is what the ops need to know of a state's declared type.
type Type = statevalue.Type

// The types. Values of TypeInt64 and TypeFloat64 states are 8 bytes.
const (
	TypeOther   = statevalue.Other   // opaque bytes
	TypeInt64   = statevalue.Int64   // little endian two's complement
	TypeFloat64 = statevalue.Float64 // IEEE 754 bits, little endian
)

// MaxTTLMs is the longest TTL, in ms: longer ones mean it.
const MaxTTLMs = 10 * 365 * 24 * 3_600_000
