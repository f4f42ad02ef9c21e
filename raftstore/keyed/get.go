package keyed

import "github.com/cespare/xxhash/v2"

// Get looks up keys of one state in a version, 0 being the live state, and
// appends one row a key to dst, in order, up to dst.MaxBytes. keyGroup is
// ByHash, or the key group of a co-partitioned space. Values are copied. On
// an error dst is as before. Errors: ErrUnknownSpace, ErrUnknownVersion,
// ErrUnknownState, ErrMalformed, ErrKeyTooLarge.
//
// Live reads may run concurrently with each other, not with the writer.
func (s *Store) Get(id, version uint64, stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *Values) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	states, err := sp.states(version)
	if err != nil {
		return err
	}
	return getColumns(&sp.cfg, states, stateID, keyGroup, keyLengths, keys, dst)
}

// getColumns is Get on given contents.
func getColumns(cfg *SpaceConfig, states []stateData, stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *Values) error {
	si, err := cfg.stateIndex(stateID)
	if err != nil {
		return err
	}
	named, err := cfg.namedGroup(keyGroup)
	if err != nil {
		return err
	}
	if err := checkKeys(cfg, keyLengths, keys); err != nil {
		return err
	}
	before := *dst
	for more := true; more && len(keyLengths) > 0; {
		n := min(len(keyLengths), warmBatch)
		if keys, more, err = getBatch(cfg, si, &states[si], named, keyLengths[:n], keys, dst, len(before.Values)); err != nil {
			*dst = before
			return err
		}
		keyLengths = keyLengths[n:]
	}
	return nil
}

// getBatch looks up at most warmBatch keys and returns the rest of keys; more
// is false once dst is full. from is where this Get's values begin.
func getBatch(cfg *SpaceConfig, si int, d *stateData, named int, lengths []uint32, keys []byte, dst *Values, from int) (rest []byte, more bool, err error) {
	var hashes [warmBatch]uint64
	rest = keys
	for i, n := range lengths {
		hashes[i] = xxhash.Sum64(rest[:n])
		rest = rest[n:]
		if named < 0 {
			if _, err := cfg.group(hashes[i]); err != nil {
				return nil, false, err
			}
		}
	}
	d.warm(cfg, named, hashes[:len(lengths)])
	for i, n := range lengths {
		group := named
		if group < 0 {
			group = int(groupOf(hashes[i], cfg.NumGroups) - cfg.Start)
		}
		value, ok := d.table(group).get(uint32(hashes[i]), keys[:n])
		if ok && dst.NowMs != 0 {
			value, ok = cfg.States[si].Visible(nil, value, dst.NowMs)
		}
		if !dst.add(value, ok, from) {
			return nil, false, nil
		}
		keys = keys[n:]
	}
	return rest, true, nil
}

// checkKeys validates a column of keys that is only read.
func checkKeys(cfg *SpaceConfig, lengths []uint32, keys []byte) error {
	sum := uint64(0)
	for _, n := range lengths {
		if n > cfg.MaxKeyBytes {
			return wrapf(ErrKeyTooLarge, "%d bytes, limit %d", n, cfg.MaxKeyBytes)
		}
		sum += uint64(n)
	}
	if sum != uint64(len(keys)) {
		return wrapf(ErrMalformed, "key lengths of %d bytes for %d bytes of keys", sum, len(keys))
	}
	return nil
}

// add appends a row unless it would pass MaxBytes; from is the length of
// v.Values when the call began.
func (v *Values) add(value []byte, found bool, from int) bool {
	if v.MaxBytes > 0 && len(v.Values) > from && len(v.Values)+len(value) > v.MaxBytes {
		return false
	}
	if !found {
		v.Found = append(v.Found, 0)
		v.ValueLengths = append(v.ValueLengths, 0)
		return true
	}
	v.Found = append(v.Found, 1)
	v.ValueLengths = append(v.ValueLengths, uint32(len(value)))
	v.Values = append(v.Values, value...)
	return true
}
