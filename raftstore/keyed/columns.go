package keyed

// Section is a batch of operations on one state, in columns. Operation i is
// Ops[i] on the next KeyLengths[i] bytes of Keys with the next
// ValueLengths[i] bytes of Values (0 for DELETE). The order counts: a key may
// appear more than once.
type Section struct {
	StateID      uint32
	KeyGroup     int64 // ByHash, or the key group of a co-partitioned space
	Ops          []byte
	KeyLengths   []uint32 // bytes
	Keys         []byte
	ValueLengths []uint32 // bytes
	Values       []byte
}

// Values receives the answer to a Get, one row a key, in the order asked. Get
// appends, so Reset and reuse it to avoid allocations.
type Values struct {
	Found        []byte   // 1 found, 0 absent (absent is not empty)
	ValueLengths []uint32 // bytes; 0 for absent
	Values       []byte
	// MaxBytes, if positive, bounds len(Values): Get stops before the value
	// that would pass it, unless it is the first of the call. The caller sees
	// fewer rows than keys and asks for the rest.
	MaxBytes int
	// NowMs, if not 0, is the time by which entries with a TTL are over, in ms since
	// 1970: they are left out, unless their state has ReturnExpired.
	NowMs int64
}

// Reset empties the columns and keeps their memory, MaxBytes and NowMs.
func (v *Values) Reset() {
	v.Found, v.ValueLengths, v.Values = v.Found[:0], v.ValueLengths[:0], v.Values[:0]
}

// Page is a part of a Scan, in columns, ordered by (key group, key bytes).
type Page struct {
	KeyGroups    []uint32
	KeyLengths   []uint32 // bytes
	Keys         []byte
	ValueLengths []uint32 // bytes
	Values       []byte
}

// Cursor is a place in the order of a Scan: the zero Cursor is the start.
type Cursor struct {
	KeyGroup uint32
	// AfterKey: the place is right after Key in KeyGroup. Otherwise it is at
	// the first key of KeyGroup, and Key means nothing.
	AfterKey bool
	Key      []byte
}
