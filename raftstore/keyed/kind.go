package keyed

// Kind is what the ops need to know of a state's kind. Reducing and aggregating
// states are KindValue here.
type Kind uint8

// The kinds. docs/protocol.md, 5.9, has the encoding of lists and maps.
const (
	KindValue Kind = 0
	KindList  Kind = 1
	KindMap   Kind = 2
)

// MaxTTLMs is the longest TTL, in ms: longer ones mean it.
const MaxTTLMs = 10 * 365 * 24 * 3_600_000
