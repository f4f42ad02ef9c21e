package rocksdb

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Scan implements backend.State. The tree is in the order of a scan, so a page
// costs what it has.
func (s *State) Scan(stateID uint32, after keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	if err := s.alive(); err != nil {
		return page, next, false, err
	}
	if _, err := s.cfg.StateIndex(stateID); err != nil {
		return page, next, false, err
	}
	if limit < 1 || maxBytes < 1 {
		return page, next, false, fmt.Errorf("%w: scan of %d entries, %d bytes", keyed.ErrMalformed, limit, maxBytes)
	}
	limit = min(limit, keyed.MaxScanRows)
	next = keyed.Cursor{KeyGroup: s.cfg.End}
	if after.KeyGroup >= s.cfg.End {
		return page, next, true, nil
	}
	err = s.do("scan", func() error {
		done, err = s.scanPage(&page, stateID, after, limit, maxBytes)
		return err
	})
	if err != nil {
		return keyed.Page{}, keyed.Cursor{}, false, err
	}
	if !done {
		next = page.Last()
	}
	return page, next, done, nil
}

// scanPage fills a page; done tells that nothing comes behind it.
func (s *State) scanPage(page *keyed.Page, stateID uint32, after keyed.Cursor, limit, maxBytes int) (done bool, err error) {
	_, upper := stateBounds(stateID)
	lower := appendKey(nil, stateID, after.KeyGroup, nil)
	if after.AfterKey {
		lower = append(append(lower, after.Key...), 0) // the next key there can be
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, group, key, valid := splitKey(it.Key())
		if !valid {
			return false, errValue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		value, there, err := stored(v)
		if err != nil {
			return false, err
		}
		if !there {
			continue
		}
		if len(page.KeyLengths) == limit || !page.Add(group, key, value, maxBytes) {
			return false, nil
		}
	}
	return it.Error() == nil, it.Error()
}
