package filesystem

// Chunks of a table grow with it between these sizes; an entry that is larger gets
// one of its own.
const (
	minChunk = 512
	maxChunk = 256 << 10
	// maxChunks is how many a table can have: a reference has 16 bits for each.
	maxChunks = 1 << 16
	// spareChunks are kept for taking back a batch that was refused.
	spareChunks = 1 << 8
)

// ref is where an entry is: chunk and offset in units.
type ref uint32

func refOf(chunk, off int) ref { return ref(chunk<<16 | off/unit) }
func (r ref) chunk() int       { return int(r >> 16) }
func (r ref) off() int         { return int(r&0xffff) * unit }

// chunk is a piece of a table's log of entries: what is in it was written one
// after the other and stays where it is.
type chunk struct {
	data []byte // nil: the number is free
	used int
	dead int // bytes of entries that are dead
	// tombs is the bytes of tombstones, which are dead once a full snapshot does
	// without them.
	tombs  int
	newest uint32 // highest changed of its entries
}

// garbage is what evacuation would free.
func (c *chunk) garbage(full uint32) int {
	if c.newest <= full {
		return c.dead + c.tombs
	}
	return c.dead
}

// entry returns the entry at a reference, in place.
func (t *table) entry(r ref) entry {
	return entry(t.chunks[r.chunk()].data[r.off():])
}

// write appends an entry to the log with room for its value.
func (t *table) write(key, value []byte, room int, changed, flag uint32) ref {
	size := entrySize(len(key), room)
	if c := &t.chunks[t.tail]; len(c.data)-c.used < size {
		t.newChunk(size)
	}
	c := &t.chunks[t.tail]
	r := refOf(t.tail, c.used)
	e := entry(c.data[c.used:])
	c.used += size
	t.used += size
	c.newest = max(c.newest, changed)
	if flag&tombstone != 0 {
		c.tombs += size
	}
	e.setU32(keyLenAt, uint32(len(key))|flag)
	e.setU32(valueLenAt, uint32(len(value)))
	e.setU32(sizeAt, uint32(size/unit))
	e.setU32(changedAt, changed)
	e.setU32(deadAt, 0)
	copy(e[keyAt:], key)
	copy(e[keyAt+len(key):], value)
	return r
}

// newChunk begins a chunk that has room for size bytes.
func (t *table) newChunk(size int) {
	n := min(max(t.used/4, minChunk), maxChunk)
	c := chunk{data: make([]byte, max(n, size)/unit*unit)}
	if n := len(t.free); n > 0 {
		t.tail = int(t.free[n-1])
		t.free = t.free[:n-1]
		t.chunks[t.tail] = c
		return
	}
	t.tail = len(t.chunks)
	t.chunks = append(t.chunks, c)
}

// full tells whether the table may need a chunk that it cannot number.
func (t *table) full() bool { return len(t.chunks)-len(t.free) > maxChunks-spareChunks }

// drop frees the number and the memory of a chunk.
func (t *table) drop(i int) {
	t.used -= t.chunks[i].used
	t.dead -= t.chunks[i].dead
	t.chunks[i] = chunk{}
	t.free = append(t.free, uint16(i))
}

// each calls f with every entry of a chunk, dead ones and tombstones too, from an
// offset on, until it returns false. It returns where it stopped.
func (c *chunk) each(from int, f func(off int, e entry) bool) int {
	for from < c.used {
		e := entry(c.data[from:])
		if !f(from, e) {
			return from
		}
		from += e.size()
	}
	return from
}
