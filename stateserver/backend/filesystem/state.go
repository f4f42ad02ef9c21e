package filesystem

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// errClosed is what a State answers after Close.
var errClosed = errors.New("the state is closed")

// state implements [backend.State].
//
// mu is for the two who may meet: the owner when it changes something, and the
// goroutine of an open snapshot when it looks for what it has to write. What a
// cut sealed is never changed, so that goroutine copies it without mu. Get and
// Scan change nothing and take no lock.
type state struct {
	cfg keyed.SpaceConfig
	err error // why nothing can be done any more

	mu     sync.Mutex
	states []stateData // by index in cfg.States
	era    era
	open   *snapshot // nil: none is
	chains chains

	batch keyed.Batch
	undo  keyed.Undo
	// merged is scratch memory of combine, nowMs the time of the batch in hand.
	merged []byte
	nowMs  int64
	clean  cleaner
}

// stateData is one named state: a table a key group and the sums over them.
type stateData struct {
	groups  []*table // by key group - Start; nil elements are empty
	bytes   int64
	entries int64
}

func newState(cfg keyed.SpaceConfig) *state {
	s := &state{cfg: cfg, states: make([]stateData, len(cfg.States)), era: era{gen: 1}}
	for i := range s.states {
		s.states[i].groups = make([]*table, cfg.End-cfg.Start)
	}
	return s
}

// table returns the table of a key group for a change.
func (s *state) table(si, group int) *table {
	t := s.states[si].groups[group]
	if t == nil {
		t = newTable(0)
		s.states[si].groups[group] = t
	}
	return t
}

// Get implements [backend.State].
func (s *state) Get(stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error {
	if s.err != nil {
		return s.err
	}
	si, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return err
	}
	named, err := s.cfg.CheckKeys(keyGroup, keyLengths, keys)
	if err != nil {
		return err
	}
	before := *dst
	for more := true; more && len(keyLengths) > 0; {
		n := min(len(keyLengths), warmBatch)
		if keys, more, err = s.getBatch(si, named, keyLengths[:n], keys, dst, len(before.Values), nowMs); err != nil {
			*dst = before
			return err
		}
		keyLengths = keyLengths[n:]
	}
	return nil
}

// getBatch looks up at most warmBatch keys and returns the rest of keys; more is
// false once dst is full. from is where the values of this Get begin.
func (s *state) getBatch(si, named int, lengths []uint32, keys []byte, dst *keyed.Values, from int, nowMs int64) (rest []byte, more bool, err error) {
	d, cfg := &s.states[si], &s.cfg.States[si]
	var hashes [warmBatch]uint64
	var groups [warmBatch]int
	rest = keys
	for i, n := range lengths {
		hashes[i] = keyed.HashKey(rest[:n])
		rest = rest[n:]
		if groups[i] = named; named < 0 {
			if groups[i] = s.cfg.GroupOf(hashes[i]); uint(groups[i]) >= uint(len(d.groups)) {
				return nil, false, s.cfg.ForeignKey(hashes[i])
			}
		}
	}
	d.warm(groups[:len(lengths)], hashes[:len(lengths)])
	for i, n := range lengths {
		value, ok := d.groups[groups[i]].get(uint32(hashes[i]), keys[:n])
		if ok && cfg.TTLMs > 0 && nowMs != 0 {
			value, ok = cfg.Visible(nil, value, nowMs)
		}
		if !dst.Add(value, ok, from) {
			return nil, false, nil
		}
		keys = keys[n:]
	}
	return rest, true, nil
}

// Bytes implements [backend.State].
func (s *state) Bytes(stateID uint32) (bytes, entries int64, err error) {
	si, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[si].bytes, s.states[si].entries, nil
}

// Cut implements [backend.State].
func (s *state) Cut(checkpoint uint64) (backend.Snapshot, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open != nil:
		return nil, fmt.Errorf("cut for checkpoint %d: a snapshot is open", checkpoint)
	case s.era.gen == math.MaxUint32:
		return nil, fmt.Errorf("cut for checkpoint %d: the state has been cut %d times", checkpoint, s.era.gen)
	}
	sn := &snapshot{s: s, checkpoint: checkpoint, gen: s.era.gen, logged: s.era.logged, tombs: s.era.tombs, entries: make([]int64, len(s.states))}
	for i := range s.states {
		sn.entries[i] = s.states[i].entries
		sn.bytes += s.states[i].bytes
	}
	sn.forget()
	s.era.gen++
	s.era.held, s.open = true, sn
	return sn, nil
}

// Close implements [backend.State].
func (s *state) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errClosed
	for i := range s.states {
		s.states[i] = stateData{groups: make([]*table, len(s.states[i].groups))}
	}
	return nil
}
