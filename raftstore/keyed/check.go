package keyed

import "github.com/cespare/xxhash/v2"

// check validates a section against the configuration, looks up its state,
// appends the hashes of its keys to f and adds up what it may grow the state
// by. What passes cannot fail on application but for size.
func (f *flush) check(cfg *SpaceConfig, n int, sec *Section) error {
	if len(sec.KeyLengths) != len(sec.Ops) || len(sec.ValueLengths) != len(sec.Ops) {
		return wrapf(ErrMalformed, "section %d: %d ops, %d key lengths, %d value lengths",
			n, len(sec.Ops), len(sec.KeyLengths), len(sec.ValueLengths))
	}
	si, err := cfg.stateIndex(sec.StateID)
	if err != nil {
		return err
	}
	named, err := cfg.namedGroup(sec.KeyGroup)
	if err != nil {
		return err
	}
	if err := checkKeys(cfg, sec.KeyLengths, sec.Keys); err != nil {
		return err
	}
	if err := checkOps(cfg, cfg.States[si].Type, n, sec); err != nil {
		return err
	}
	if err := f.hashKeys(cfg, named, sec); err != nil {
		return err
	}
	f.states = append(f.states, si)
	f.groups = append(f.groups, named)
	f.bound[si] += int64(len(sec.Keys)+len(sec.Values)) + int64(len(sec.Ops))*entryHeader
	return nil
}

// checkOps validates the ops and values of a section.
func checkOps(cfg *SpaceConfig, typ Type, n int, sec *Section) error {
	sum := uint64(0)
	for i, op := range sec.Ops {
		size := sec.ValueLengths[i]
		sum += uint64(size)
		switch {
		case op == OpDelete && size == 0:
		case op == OpDelete:
			return wrapf(ErrMalformed, "section %d, op %d: DELETE with a value of %d bytes", n, i, size)
		case op < OpPut || op > OpMax:
			return wrapf(ErrMalformed, "section %d, op %d: unknown op %d", n, i, op)
		case typ.numeric() && size != numberBytes:
			return wrapf(ErrTypeMismatch, "section %d, op %d: number of %d bytes", n, i, size)
		case op != OpPut && !typ.numeric():
			return wrapf(ErrTypeMismatch, "section %d, op %d: op %d on state %d, which is no number", n, i, op, sec.StateID)
		case size > cfg.MaxValueBytes:
			return wrapf(ErrValueTooLarge, "section %d, op %d: %d bytes, limit %d", n, i, size, cfg.MaxValueBytes)
		}
	}
	if sum != uint64(len(sec.Values)) {
		return wrapf(ErrMalformed, "section %d: value lengths of %d bytes for %d bytes of values", n, sum, len(sec.Values))
	}
	return nil
}

// hashKeys appends the hash of every key and checks that the subtask owns it.
func (f *flush) hashKeys(cfg *SpaceConfig, named int, sec *Section) error {
	keys := sec.Keys
	for _, size := range sec.KeyLengths {
		hash := xxhash.Sum64(keys[:size])
		keys = keys[size:]
		if named < 0 {
			if _, err := cfg.group(hash); err != nil {
				return err
			}
		}
		f.hashes = append(f.hashes, hash)
	}
	return nil
}
