package keyed

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

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
	if err := f.checkOps(cfg, si, n, sec); err != nil {
		return err
	}
	if err := f.hashKeys(cfg, named, sec); err != nil {
		return err
	}
	f.states = append(f.states, si)
	f.groups = append(f.groups, named)
	f.bound[si] += int64(len(sec.Keys)) + int64(len(sec.Ops))*entryHeader
	return nil
}

// checkOps validates the ops and values of a section.
func (f *flush) checkOps(cfg *SpaceConfig, si, n int, sec *Section) error {
	sum := uint64(0)
	for _, size := range sec.ValueLengths {
		sum += uint64(size)
	}
	if sum != uint64(len(sec.Values)) {
		return wrapf(ErrMalformed, "section %d: value lengths of %d bytes for %d bytes of values", n, sum, len(sec.Values))
	}
	st, values, total := &cfg.States[si], sec.Values, 0
	for i, op := range sec.Ops {
		value := values[:sec.ValueLengths[i]]
		values = values[len(value):]
		size, err := f.checkOp(st, op, value)
		if err == nil && size > int(cfg.MaxValueBytes) {
			err = wrapf(ErrValueTooLarge, "%d bytes, limit %d", size, cfg.MaxValueBytes)
		}
		if err != nil {
			return fmt.Errorf("section %d, op %d: %w", n, i, err)
		}
		total += size
	}
	f.bound[si] += int64(total)
	f.grown[si] += int64(total)
	return nil
}

// checkOp validates one op and returns the bytes that it can add to its state
// beside the key.
func (f *flush) checkOp(st *StateConfig, op Op, value []byte) (size int, err error) {
	if f.stored {
		if op != OpPut {
			return 0, wrapf(ErrMalformed, "op %d in a load", op)
		}
		return len(value), st.CheckStored(value)
	}
	return st.checkOperand(op, value)
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
