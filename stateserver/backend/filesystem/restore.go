package filesystem

import (
	"context"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// restoredGen is the generation of everything that was restored.
const restoredGen = 1

// checkEvery is how many entries are read between looks at the context.
const checkEvery = 1 << 14

// Restore implements [backend.State]. What the files have is of generation 1, which
// is sealed then, so that the first cut has nothing of it.
func (s *state) Restore(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) error {
	if s.err != nil {
		return s.err
	}
	c := &chain{}
	for i, h := range handles {
		if err := s.restoreFile(ctx, files, h, i == 0); err != nil {
			s.err = fmt.Errorf("the state was not restored: %w", err)
			return err
		}
		c.parts = append(c.parts, part{handle: h, to: restoredGen, merged: true})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.parts) > 0 {
		s.era.gen, s.era.full = restoredGen+1, restoredGen
		s.chains.restored = c
	}
	return nil
}

// restoreFile puts one file on top of what is there.
func (s *state) restoreFile(ctx context.Context, files backend.Files, h *holdfastv1.StateHandle, first bool) error {
	f, err := openFile(ctx, &s.cfg, files, h)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // it was only read
	if f.header.full != first {
		return f.damaged("it is not the part that belongs in its place")
	}
	if first {
		s.presize(f.header.entries, h.Size)
	}
	restoring := era{gen: restoredGen}
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		more, err := f.next()
		if err != nil || !more {
			return err
		}
		s.set(&restoring, f.si, int(f.group-s.cfg.Start), f.key, f.value, f.removed)
	}
}

// presize makes the tables as large as they will be, if keys are spread evenly. A
// file of size bytes has at most a third as many entries.
func (s *state) presize(entries []int64, size uint64) {
	for si := range s.states {
		groups := s.states[si].groups
		each := 0
		if len(groups) > 0 {
			each = int(min(uint64(entries[si]), size/3) / uint64(len(groups)))
		}
		if each < keyed.MinIndex {
			continue
		}
		for g := range groups {
			groups[g] = newTable(each + each/16)
		}
	}
}

// set changes one key without a batch.
func (s *state) set(er *era, si, group int, key, value []byte, removed bool) {
	t := s.table(si, group)
	d := &s.states[si]
	bytes, entries := t.bytes, t.entries
	hash := uint32(keyed.HashKey(key))
	if removed {
		t.remove(er, hash, key)
	} else {
		t.put(er, hash, key, value)
	}
	d.bytes += t.bytes - bytes
	d.entries += int64(t.entries - entries)
}

// Load implements [backend.State]. What it adds is new to the next snapshot.
func (s *state) Load(ctx context.Context, from backend.Entries) error {
	if s.err != nil {
		return s.err
	}
	for n := 0; from.Next(); n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.load(from.Entry()); err != nil {
			return err
		}
	}
	return from.Err()
}

func (s *state) load(e backend.Entry) error {
	si, err := s.cfg.StateIndex(e.StateID)
	if err != nil {
		return err
	}
	if e.KeyGroup < s.cfg.Start || e.KeyGroup >= s.cfg.End {
		return nil
	}
	if err := s.cfg.States[si].CheckStored(e.Value); err != nil {
		return fmt.Errorf("%w: %w", keyed.ErrTypeMismatch, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(&s.era, si, int(e.KeyGroup-s.cfg.Start), e.Key, e.Value, false)
	return nil
}
