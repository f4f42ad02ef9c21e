package filesystem

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"
)

// lookBytes is how much of a log the goroutine of a snapshot looks at before it
// lets the owner of the state have its turn.
const lookBytes = 128 << 10

// items is what one table gives to a snapshot.
type items struct {
	list []item
	data [][]byte // of the chunks, as they were
}

// item is an entry with the beginning of its key, by which most are ordered.
type item struct {
	prefix uint64
	r      ref
	tomb   bool
}

func (it *items) reset() {
	it.list = it.list[:0]
	clear(it.data)
	it.data = it.data[:0]
}

func (it *items) entry(r ref) entry { return entry(it.data[r.chunk()][r.off():]) }

// collect looks for the entries of a table as it was at generation gen, that
// changed after from; for a full snapshot, for all of them and no tombstones. The
// caller holds s.mu, which is let go for a moment now and then.
func (it *items) collect(s *state, t *table, from, gen uint32, full bool) error {
	for i := 0; i < len(t.chunks); i++ {
		if !full && t.chunks[i].newest <= from {
			continue
		}
		for off := 0; off < t.chunks[i].used; {
			end := off + lookBytes
			off = t.chunks[i].each(off, func(off int, e entry) bool {
				it.add(e, refOf(i, off), from, gen, full)
				return off < end
			})
			if off < t.chunks[i].used {
				off += entry(t.chunks[i].data[off:]).size() // the one that was looked at last
			}
			s.mu.Unlock()
			runtime.Gosched()
			s.mu.Lock()
			if s.err != nil {
				return s.err
			}
		}
	}
	for i := range t.chunks {
		it.data = append(it.data, t.chunks[i].data)
	}
	return nil
}

func (it *items) add(e entry, r ref, from, gen uint32, full bool) {
	tomb := e.isTomb()
	if full && tomb || !full && e.changed() <= from || !e.at(gen) {
		return
	}
	it.list = append(it.list, item{prefix: prefixOf(e.key()), r: r, tomb: tomb})
}

// prefixOf returns the first bytes of a key so that numbers compare as keys do;
// equal ones say nothing.
func prefixOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// compare orders by key; of one key that was deleted and set again, what it is
// comes before its deletion.
func (it *items) compare(a, b item) int {
	if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
		return c
	}
	if c := bytes.Compare(it.entry(a.r).key(), it.entry(b.r).key()); c != 0 {
		return c
	}
	switch {
	case a.tomb == b.tomb:
		return 0
	case a.tomb:
		return 1
	}
	return -1
}

// write writes the items in the order of their keys.
func (it *items) write(w *fileWriter, state, group uint32) {
	slices.SortFunc(it.list, it.compare)
	var last []byte
	for i, x := range it.list {
		e := it.entry(x.r)
		if x.tomb && i > 0 && bytes.Equal(e.key(), last) {
			continue
		}
		last = e.key()
		if x.tomb {
			w.remove(state, group, last)
		} else {
			w.put(state, group, last, e.value())
		}
		if w.err != nil {
			return
		}
	}
}
