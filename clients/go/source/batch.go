package source

// Batch is a number of records as columns: all keys one after the other, all
// values likewise, and a number a record for everything else. A batch is
// reused, so that reading makes no garbage of its own.
type Batch struct {
	keys       []byte
	keyEnds    []int
	values     []byte
	valueEnds  []int
	nulls      []uint8
	splits     []int32
	offsets    []int64
	epochs     []int32
	timestamps []int64
}

const (
	nullKey   = 1
	nullValue = 2
)

// Entry is one record on its way into a batch.
type Entry struct {
	// Split is the index of the record's split in OpenOptions.Splits.
	Split       int
	Offset      int64
	LeaderEpoch int32
	// TimestampMillis is the record's time in ms since 1970, 0 if it has none.
	TimestampMillis int64
	// Key and Value are copied. Nil is kept apart from empty.
	Key   []byte
	Value []byte
}

// Append adds a record. Offsets of one split must rise.
func (b *Batch) Append(e Entry) {
	b.keys = append(b.keys, e.Key...)
	b.keyEnds = append(b.keyEnds, len(b.keys))
	b.values = append(b.values, e.Value...)
	b.valueEnds = append(b.valueEnds, len(b.values))
	var nulls uint8
	if e.Key == nil {
		nulls |= nullKey
	}
	if e.Value == nil {
		nulls |= nullValue
	}
	b.nulls = append(b.nulls, nulls)
	b.splits = append(b.splits, int32(e.Split))
	b.offsets = append(b.offsets, e.Offset)
	b.epochs = append(b.epochs, e.LeaderEpoch)
	b.timestamps = append(b.timestamps, e.TimestampMillis)
}

// Len is the number of records.
func (b *Batch) Len() int { return len(b.offsets) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.keys, b.keyEnds = b.keys[:0], b.keyEnds[:0]
	b.values, b.valueEnds = b.values[:0], b.valueEnds[:0]
	b.nulls, b.splits = b.nulls[:0], b.splits[:0]
	b.offsets, b.epochs, b.timestamps = b.offsets[:0], b.epochs[:0], b.timestamps[:0]
}

// Key is the key of record i, nil if it has none. It is valid until Reset.
func (b *Batch) Key(i int) []byte {
	if b.nulls[i]&nullKey != 0 {
		return nil
	}
	return cell(b.keys, b.keyEnds, i)
}

// Value is the value of record i, nil if it is null. It is valid until Reset.
func (b *Batch) Value(i int) []byte {
	if b.nulls[i]&nullValue != 0 {
		return nil
	}
	return cell(b.values, b.valueEnds, i)
}

// Split is the index of the split of record i.
func (b *Batch) Split(i int) int { return int(b.splits[i]) }

// Offset is the offset of record i.
func (b *Batch) Offset(i int) int64 { return b.offsets[i] }

// LeaderEpoch is the leader epoch of record i, -1 if unknown.
func (b *Batch) LeaderEpoch(i int) int32 { return b.epochs[i] }

// TimestampMillis is the time of record i in ms since 1970, 0 if it has none.
func (b *Batch) TimestampMillis(i int) int64 { return b.timestamps[i] }

func cell(column []byte, ends []int, i int) []byte {
	begin := 0
	if i > 0 {
		begin = ends[i-1]
	}
	return column[begin:ends[i]:ends[i]]
}

// Record is one record as a deserializer sees it.
type Record struct {
	Topic     string
	Partition uint32
	Offset    int64
	// TimestampMillis is in ms since 1970, 0 if there is none.
	TimestampMillis int64
	// Key and Value are nil where they are null. They are valid only until the
	// deserializer returns.
	Key   []byte
	Value []byte
}
