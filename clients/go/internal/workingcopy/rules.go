package workingcopy

import (
	"time"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// Rules say what a table holds where that is more than plain values: lists, maps,
// values with a TTL, or values that are changed without being known.
type Rules struct {
	State statevalue.State
	// ReturnExpired: what is over is returned as long as it is there.
	ReturnExpired bool
	// RefreshOnRead: reading is an update.
	RefreshOnRead bool
	// Op is what Apply may be called with beside PUT and DELETE: APPEND of a list, or
	// ADD, MIN or MAX, but not sums of float64. Two of it fold into one.
	Op statevalue.Op
	// Blind: keys are not asked for before the program has read one.
	Blind bool
}

// SetRules is called before the table has entries.
func (t *Table) SetRules(r Rules) {
	t.rules = &r
	t.blind = r.Blind
}

// detail is what an entry has where its table has rules. Its changes are operations
// and not values: they may be made before the value is known.
type detail struct {
	// known tells that the value is that of the host with all changes.
	known bool
	// pending are the changes of the entry's generation that are in no frame.
	pending change
	// cells is the content of a known map; its size is that of its encoding.
	cells map[string]cell
	size  int
	// counted is what of Store.bytes the entry has beyond key and overhead.
	counted int
}

// cell is one entry of a map.
type cell struct {
	value  []byte
	timeMs int64
}

// detailOverhead is what a detail costs beyond the bytes in it.
const detailOverhead = 144

// Known tells that the value of the entry can be read.
func (e *Entry) Known() bool {
	if e.detail == nil {
		return !e.loading
	}
	return e.detail.known
}

// Want puts an entry that is not known on the list of what the next Get asks for.
// From now on the table asks for its keys ahead: the program reads them.
func (e *Entry) Want() {
	e.table.blind = false
	if !e.Known() && !e.loading {
		e.loading = true
		e.table.store.wants = append(e.table.store.wants, e)
	}
}

// Waiting tells that keys are wanted that cannot be asked for yet: changes of theirs
// are in flight, and an answer could be from before them or from after.
func (s *Store) Waiting() bool { return len(s.wants) > 0 }

// SetTime tells the host's clock (docs/protocol.md, 5.10).
func (s *Store) SetTime(hostMs int64) {
	if hostMs > 0 {
		s.hostMs, s.hostAt = hostMs, time.Now()
	}
}

// Now is the host's clock as far as it is known, in ms since 1970. It never goes
// back.
func (s *Store) Now() int64 {
	now := time.Now().UnixMilli()
	if s.hostMs > 0 {
		now = s.hostMs + time.Since(s.hostAt).Milliseconds()
	}
	s.lastMs = max(s.lastMs, now)
	return s.lastMs
}

// ttl is what the table's state needs to tell what is over.
func (t *Table) ttl() statevalue.TTL {
	ttl := statevalue.TTL{Ms: t.rules.State.TTLMs}
	if ttl.Ms > 0 {
		ttl.NowMs = t.store.Now()
	}
	return ttl
}

// settle counts what an entry with a detail takes, after a change of it.
func (e *Entry) settle() {
	d, s := e.detail, e.table.store
	if e.gen != 0 {
		s.unflushed -= int(e.cost)
		e.cost = int32(e.keySize() + d.pending.size())
		s.unflushed += int(e.cost)
	}
	counted := detailOverhead + cap(e.value) + d.pending.size() + d.size
	if e.old != nil && e.old.change != nil {
		counted += e.old.change.size()
	}
	s.bytes += counted - d.counted
	d.counted = counted
	e.used = true
}
