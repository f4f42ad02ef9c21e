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
	found, lengths, values := len(dst.Found), len(dst.ValueLengths), len(dst.Values)
	d := &states[si]
	for _, n := range keyLengths {
		key := keys[:n]
		keys = keys[n:]
		hash, group := xxhash.Sum64(key), named
		if named < 0 {
			if group, err = cfg.group(hash); err != nil {
				dst.Found, dst.ValueLengths, dst.Values = dst.Found[:found], dst.ValueLengths[:lengths], dst.Values[:values]
				return err
			}
		}
		v, ok := d.table(group).get(uint32(hash), key)
		if !dst.add(v, ok, values) {
			return nil
		}
	}
	return nil
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
