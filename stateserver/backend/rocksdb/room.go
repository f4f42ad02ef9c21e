package rocksdb

// room keeps the memtable from becoming full while a cut is taken: what is full is
// flushed, and would get into the cut.
type room struct {
	most uint64 // bytes of the largest memtable

	// size is what the memtable holds at least: Pebble begins with firstMemTable
	// and doubles it with each one that became full, up to most. So after size
	// bytes it is twice that, whatever happened.
	size, toSize uint64
	// sinceCut is what the changes since the last cut take at most.
	sinceCut uint64
}

const (
	firstMemTable = 256 << 10
	// emptyMemTable is more than what an empty memtable takes.
	emptyMemTable = 32 << 10

	// An entry in a memtable is a node of a skip list: 24 bytes, 8 a level, key, 8
	// bytes of sequence number, value, padding; the batch has at least key, value
	// and 3 bytes. While it is written there must be room for 20 levels.
	// Afterwards it has 1.6 on average: 4 are out of reach of chance.
	entryRoom  = 24 + 20*8 + 8 + 8
	entryTakes = 24 + 4*8 + 8 + 8
)

func newRoom(most uint64) room {
	return room{most: most, size: min(most, firstMemTable)}
}

// fits reports whether a batch cannot fill the memtable. bytes is the batch's size.
func (r *room) fits(bytes, ops uint64) bool {
	need := emptyMemTable + bytes + ops*entryRoom
	return r.sinceCut+need <= r.size && need < r.most/2
}

// took notes a batch that was written.
func (r *room) took(bytes, ops uint64) {
	r.sinceCut += bytes + ops*entryTakes
	if r.toSize += bytes; r.toSize > r.size {
		r.size, r.toSize = min(2*r.size, r.most), 0
	}
}
