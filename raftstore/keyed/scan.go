package keyed

import (
	"bytes"
	"slices"
)

// MaxScanRows is the largest number of entries in a Page, whatever the limit
// asked for.
const MaxScanRows = 1 << 16

// Scan returns the entries of a state in a version, 0 being the live state,
// that follow a cursor in the order (key group, key bytes): at most limit of
// them, and keys + values of at most maxBytes bytes, but at least one entry.
// next continues after the last one; done means that there are no more. A key
// that exists all through a sequence of pages appears in it exactly once,
// whatever is written between the pages. A page costs a look at every entry
// of each key group that it touches. Errors: ErrUnknownSpace,
// ErrUnknownVersion, ErrUnknownState, ErrMalformed for a limit below 1.
//
// Live reads may run concurrently with each other, not with the writer.
func (s *Store) Scan(id, version uint64, stateID uint32, after Cursor, limit, maxBytes int) (page Page, next Cursor, done bool, err error) {
	sp, err := s.space(id)
	if err != nil {
		return Page{}, Cursor{}, false, err
	}
	states, err := sp.states(version)
	if err != nil {
		return Page{}, Cursor{}, false, err
	}
	return scanPage(&sp.cfg, states, stateID, after, limit, maxBytes)
}

// scanPage is Scan on given contents.
func scanPage(cfg *SpaceConfig, states []stateData, stateID uint32, after Cursor, limit, maxBytes int) (page Page, next Cursor, done bool, err error) {
	si, err := cfg.stateIndex(stateID)
	if err != nil {
		return Page{}, Cursor{}, false, err
	}
	if limit < 1 || maxBytes < 1 {
		return Page{}, Cursor{}, false, wrapf(ErrMalformed, "scan of %d entries, %d bytes", limit, maxBytes)
	}
	limit = min(limit, MaxScanRows)
	for g := max(after.KeyGroup, cfg.Start); g < cfg.End; g++ {
		var low []byte
		fromStart := !after.AfterKey || g != after.KeyGroup
		if !fromStart {
			low = after.Key
		}
		t := states[si].table(int(g - cfg.Start))
		for _, off := range smallestKeys(t, fromStart, low, limit-len(page.KeyLengths)) {
			if !page.add(g, t.key(off), t.value(off), maxBytes) {
				return page, page.last(), false, nil
			}
		}
		if len(page.KeyLengths) == limit {
			return page, page.last(), false, nil
		}
	}
	return page, Cursor{KeyGroup: cfg.End}, true, nil
}

// smallestKeys returns the offsets of the n smallest keys above low, or of all
// keys if fromStart, sorted. It holds 2n offsets at most.
func smallestKeys(t *table, fromStart bool, low []byte, n int) []uint32 {
	var picked []uint32
	byKey := func(a, b uint32) int { return bytes.Compare(t.key(a), t.key(b)) }
	cut := func() {
		slices.SortFunc(picked, byKey)
		picked = picked[:min(n, len(picked))]
	}
	var top []byte // once n are known: the largest that can still matter
	t.each(func(off uint32, key, _ []byte) bool {
		if !fromStart && bytes.Compare(key, low) <= 0 || top != nil && bytes.Compare(key, top) >= 0 {
			return true
		}
		picked = append(picked, off)
		if len(picked) == 2*n {
			cut()
			top = t.key(picked[n-1])
		}
		return true
	})
	cut()
	return picked
}

// add appends an entry unless it would pass maxBytes.
func (p *Page) add(group uint32, key, value []byte, maxBytes int) bool {
	if len(p.KeyLengths) > 0 && len(p.Keys)+len(p.Values)+len(key)+len(value) > maxBytes {
		return false
	}
	p.KeyGroups = append(p.KeyGroups, group)
	p.KeyLengths = append(p.KeyLengths, uint32(len(key)))
	p.Keys = append(p.Keys, key...)
	p.ValueLengths = append(p.ValueLengths, uint32(len(value)))
	p.Values = append(p.Values, value...)
	return true
}

// last returns the cursor after the last entry of a page that has one.
func (p *Page) last() Cursor {
	i := len(p.KeyLengths) - 1
	key := p.Keys[len(p.Keys)-int(p.KeyLengths[i]):]
	return Cursor{KeyGroup: p.KeyGroups[i], AfterKey: true, Key: slices.Clone(key)}
}
