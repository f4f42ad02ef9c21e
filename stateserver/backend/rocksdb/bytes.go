package rocksdb

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// exactBelow is the number of operations since the tree was opened up to which
// Bytes counts entry by entry.
const exactBelow = 1 << 12

// Bytes implements backend.State. A small state is counted. A large one is
// estimated from what its tables hold: what is in the memtable is missing, and
// an entry that was written again counts twice until a compaction meets both.
func (s *State) Bytes(stateID uint32) (bytes, entries int64, err error) {
	if _, err := s.cfg.StateIndex(stateID); err != nil {
		return 0, 0, err
	}
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed || s.db == nil {
		return 0, 0, fmt.Errorf("state %s is closed", s.name)
	}
	err = s.do("measure", func() error {
		bytes, entries, err = s.counts.sum(s.db, stateID)
		if err == nil && entries < exactBelow && s.written.Load() < exactBelow {
			bytes, entries, err = count(s.db, stateID)
		}
		return err
	})
	return bytes, entries, err
}

// count reads a state from end to end.
func count(db *pebble.DB, state uint32) (bytes, entries int64, err error) {
	lower, upper := stateBounds(state)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return 0, 0, err
		}
		value, there, err := stored(v)
		if err != nil {
			return 0, 0, err
		}
		if there {
			entries++
			bytes += int64(len(it.Key()) - keyHeader + len(value))
		}
	}
	return bytes, entries, it.Error()
}
