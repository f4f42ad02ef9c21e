package filesystem

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Scan implements [backend.State]. Tables have no order, so that a page looks at
// every entry of each key group that it touches.
func (s *state) Scan(stateID uint32, after keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	if s.err != nil {
		return page, next, false, s.err
	}
	si, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return page, next, false, err
	}
	if limit < 1 || maxBytes < 1 {
		return page, next, false, fmt.Errorf("%w: scan of %d entries, %d bytes", keyed.ErrMalformed, limit, maxBytes)
	}
	limit = min(limit, keyed.MaxScanRows)
	for g := max(after.KeyGroup, s.cfg.Start); g < s.cfg.End; g++ {
		var low []byte
		fromStart := !after.AfterKey || g != after.KeyGroup
		if !fromStart {
			low = after.Key
		}
		t := s.states[si].groups[g-s.cfg.Start]
		for _, r := range smallestKeys(t, fromStart, low, limit-len(page.KeyLengths)) {
			e := t.entry(r)
			if !page.Add(g, e.key(), e.value(), maxBytes) {
				return page, page.Last(), false, nil
			}
		}
		if len(page.KeyLengths) == limit {
			return page, page.Last(), false, nil
		}
	}
	return page, keyed.Cursor{KeyGroup: s.cfg.End}, true, nil
}

// smallestKeys returns the n smallest keys above low, or of all keys if
// fromStart, sorted. It holds 2n references at most.
func smallestKeys(t *table, fromStart bool, low []byte, n int) []ref {
	var picked []ref
	key := func(r ref) []byte { return t.entry(r).key() }
	cut := func() {
		slices.SortFunc(picked, func(a, b ref) int { return bytes.Compare(key(a), key(b)) })
		picked = picked[:min(n, len(picked))]
	}
	var top []byte // once n are known: the largest that can still matter
	t.each(func(r ref, e entry) bool {
		if !fromStart && bytes.Compare(e.key(), low) <= 0 || top != nil && bytes.Compare(e.key(), top) >= 0 {
			return true
		}
		picked = append(picked, r)
		if len(picked) == 2*n {
			cut()
			top = key(picked[n-1])
		}
		return true
	})
	cut()
	return picked
}
