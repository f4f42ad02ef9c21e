package rocksdb

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// counterName is the property of each table of the tree that has what it holds of
// each state: state number, values, their keys + values in bytes, deletions, bytes of
// the longest value; each a uvarint.
const counterName = "holdfast.counts"

// tally is what one table holds of one state.
type tally struct {
	state                           uint32
	values, bytes, deletes, longest uint64
}

// counter counts while a table is written.
type counter struct{ states []tally }

func newCounter() pebble.BlockPropertyCollector { return &counter{} }

// Name implements pebble.BlockPropertyCollector.
func (*counter) Name() string { return counterName }

// AddPointKey implements pebble.BlockPropertyCollector. Keys come in order.
func (c *counter) AddPointKey(key sstable.InternalKey, value []byte) error {
	state, _, user, ok := splitKey(key.UserKey)
	if !ok {
		return errValue
	}
	if n := len(c.states); n == 0 || c.states[n-1].state != state {
		c.states = append(c.states, tally{state: state})
	}
	t := &c.states[len(c.states)-1]
	switch key.Kind() {
	case pebble.InternalKeyKindDelete, pebble.InternalKeyKindDeleteSized:
		t.deletes++
		return nil
	case pebble.InternalKeyKindMerge:
		t.values++
		t.bytes += uint64(len(user) + max(0, len(value)-3)) // tag, op and length of a number's
	default:
		t.values++
		t.bytes += uint64(len(user) + max(0, len(value)-1))
	}
	t.longest = max(t.longest, uint64(len(value)))
	return nil
}

// AddRangeKeys implements pebble.BlockPropertyCollector.
func (*counter) AddRangeKeys(sstable.Span) error { return nil }

// AddCollectedWithSuffixReplacement implements pebble.BlockPropertyCollector.
func (*counter) AddCollectedWithSuffixReplacement([]byte, []byte, []byte) error {
	return fmt.Errorf("%s: keys have no suffixes", counterName)
}

// SupportsSuffixReplacement implements pebble.BlockPropertyCollector.
func (*counter) SupportsSuffixReplacement() bool { return false }

// FinishDataBlock implements pebble.BlockPropertyCollector.
func (*counter) FinishDataBlock(buf []byte) ([]byte, error) { return buf, nil }

// AddPrevDataBlockToIndexBlock implements pebble.BlockPropertyCollector.
func (*counter) AddPrevDataBlockToIndexBlock() {}

// FinishIndexBlock implements pebble.BlockPropertyCollector.
func (*counter) FinishIndexBlock(buf []byte) ([]byte, error) { return buf, nil }

// FinishTable implements pebble.BlockPropertyCollector.
func (c *counter) FinishTable(buf []byte) ([]byte, error) {
	for _, t := range c.states {
		for _, v := range []uint64{uint64(t.state), t.values, t.bytes, t.deletes, t.longest} {
			buf = binary.AppendUvarint(buf, v)
		}
	}
	return buf, nil
}

// parseTallies reads the property of a table.
func parseTallies(b []byte) (out []tally) {
	for len(b) > 0 {
		var v [5]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return out
			}
			b = b[n:]
		}
		out = append(out, tally{uint32(v[0]), v[1], v[2], v[3], v[4]})
	}
	return out
}

// counts remembers what tables hold: they never change.
type counts struct {
	mu     sync.Mutex
	tables map[uint64][]tally
}

// sum adds up one state over the tables that there are.
func (c *counts) sum(db *pebble.DB, state uint32) (bytes, entries int64, err error) {
	levels, err := db.SSTables()
	if err != nil {
		return 0, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[uint64][]tally, len(c.tables))
	missing := false
	for _, level := range levels {
		for i := range level {
			n := uint64(level[i].BackingSSTNum)
			t, ok := c.tables[n]
			missing = missing || !ok
			known[n] = t
		}
	}
	if missing {
		if known, err = readTallies(db); err != nil {
			return 0, 0, err
		}
	}
	c.tables = known
	var t tally
	for _, table := range known {
		for _, s := range table {
			if s.state == state {
				t.values, t.bytes, t.deletes = t.values+s.values, t.bytes+s.bytes, t.deletes+s.deletes
			}
		}
	}
	if t.values <= t.deletes {
		return 0, 0, nil
	}
	// A deletion stands for a value that is in another table still.
	entries = int64(t.values - t.deletes)
	return int64(float64(t.bytes) / float64(t.values) * float64(entries)), entries, nil
}

// readTallies reads what the tables hold.
func readTallies(db *pebble.DB) (map[uint64][]tally, error) {
	known := map[uint64][]tally{}
	err := eachTable(db, func(_ int, table uint64, t []tally) { known[table] = t })
	return known, err
}

func eachTable(db *pebble.DB, f func(level int, table uint64, t []tally)) error {
	levels, err := db.SSTables(pebble.WithProperties())
	if err != nil {
		return err
	}
	for level := range levels {
		for i := range levels[level] {
			table := &levels[level][i]
			if p := table.Properties; p != nil {
				// Before what a collector wrote stands its number in the table.
				if v := p.UserProperties[counterName]; len(v) > 0 {
					f(level, uint64(table.BackingSSTNum), parseTallies([]byte(v[1:])))
				}
			}
		}
	}
	return nil
}

// longest returns what no value of a state is longer than, by state number, as far
// as tables have it: the longest parts of each level together, since a level has a
// key once, and each table of level 0 is a level.
func longest(db *pebble.DB) (map[uint32]int64, error) {
	type place struct {
		state uint32
		level uint64
	}
	parts := map[place]int64{}
	err := eachTable(db, func(level int, table uint64, tallies []tally) {
		for _, t := range tallies {
			at := place{t.state, uint64(level)}
			if level == 0 {
				at.level = 1<<32 + table
			}
			parts[at] = max(parts[at], int64(t.longest))
		}
	})
	out := map[uint32]int64{}
	for at, n := range parts {
		out[at.state] += n
	}
	return out, err
}
