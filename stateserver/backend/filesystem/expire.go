package filesystem

import (
	"slices"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// cleaner is how far the removal of what is over has come: it walks through the tables
// of the states with a TTL, one after the other, and is paid by the ops of batches, as
// in raftstore/keyed.
type cleaner struct {
	state, group int // the next table
	credit       int64
}

const (
	cleanPerOp    = 4
	cleanPerBatch = 64
	// cleanTables bounds the tables of one batch, keepCredit what is saved up where
	// they were cheap.
	cleanTables = 32
	keepCredit  = 1 << 12
)

// cleanUp goes on with the removal of what is over, after a batch.
func (s *state) cleanUp(sections []keyed.Section) {
	timed := slices.ContainsFunc(s.cfg.States, func(c keyed.StateConfig) bool { return c.TTLMs > 0 })
	if !timed || s.nowMs == 0 || s.cfg.Start == s.cfg.End {
		return
	}
	c := &s.clean
	c.credit += cleanPerBatch
	for i := range sections {
		c.credit += cleanPerOp * int64(len(sections[i].Ops))
	}
	for range cleanTables {
		cost := int64(1)
		if t := s.states[c.state].groups[c.group]; t != nil && s.cfg.States[c.state].TTLMs > 0 {
			cost += int64(t.entries) + t.bytes/64
		}
		if cost > c.credit {
			return // the credit grows until it is enough
		}
		c.credit -= cost
		s.cleanTable(c.state, c.group)
		if c.group++; c.group == len(s.states[c.state].groups) || s.cfg.States[c.state].TTLMs == 0 {
			c.group, c.state = 0, (c.state+1)%len(s.states)
		}
	}
	c.credit = min(c.credit, keepCredit)
}

// dropExpired removes all that is over from the states with a TTL that are above their
// limit, and reports whether there are such states.
func (s *state) dropExpired() (dropped bool) {
	for si := range s.states {
		limit := s.cfg.States[si].MaxBytes
		if s.cfg.States[si].TTLMs == 0 || limit == 0 || s.states[si].bytes <= limit {
			continue
		}
		dropped = true
		for g := range s.states[si].groups {
			s.cleanTable(si, g)
		}
	}
	return dropped
}

// cleanTable removes what is over from one table.
func (s *state) cleanTable(si, group int) {
	cfg, t := &s.cfg.States[si], s.states[si].groups[group]
	if t == nil || cfg.TTLMs == 0 {
		return
	}
	var keys [][]byte // copies: the table moves entries
	t.each(func(_ ref, e entry) bool {
		if live, found := cfg.Live(nil, e.value(), s.nowMs); !found || len(live) < len(e.value()) {
			keys = append(keys, slices.Clone(e.key()))
		}
		return true
	})
	for _, key := range keys {
		hash := uint32(keyed.HashKey(key))
		value, _ := t.get(hash, key)
		if live, found := cfg.Live(nil, value, s.nowMs); found {
			s.applyOp(si, group, keyed.OpPut, hash, key, live)
		} else {
			s.applyOp(si, group, keyed.OpDelete, hash, key, nil)
		}
	}
}
