package keyed

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

// cleaner is how far the removal of what is over has come. It walks through the
// tables of the states with a TTL, one after the other, and is paid by the ops of
// flushes: what it does depends on contents and commands alone, so that every replica
// removes the same at the same entry of the log. It is part of the snapshot.
type cleaner struct {
	state, group uint32 // indices: the next table
	credit       uint64
}

const (
	// A flush pays for looking at cleanPerOp entries an op, and cleanPerFlush more. A
	// table costs its entries, and one for each cleanBytes of them.
	cleanPerOp    = 4
	cleanPerFlush = 64
	cleanBytes    = 64
	// cleanTables bounds the tables of one flush, keepCredit what is saved up where
	// they were cheap.
	cleanTables = 32
	keepCredit  = 1 << 12
)

// hasTTL reports whether a state of the space has a TTL.
func (sp *space) hasTTL() bool {
	return slices.ContainsFunc(sp.cfg.States, func(c StateConfig) bool { return c.TTLMs > 0 })
}

// cleanUp goes on with the removal of what is over, after a flush.
func (sp *space) cleanUp(sections []Section, nowMs int64) {
	ops := 0
	for i := range sections {
		ops += len(sections[i].Ops)
	}
	if ops == 0 || !sp.hasTTL() {
		return
	}
	c := &sp.clean
	c.credit += cleanPerFlush + cleanPerOp*uint64(ops)
	for range cleanTables {
		si := int(c.state)
		t := sp.live[si].table(int(c.group))
		if cost := cleanCost(&sp.cfg.States[si], t); cost <= c.credit {
			c.credit -= cost
		} else {
			return // the credit grows until it is enough
		}
		sp.cleanTable(si, int(c.group), nowMs)
		c.next(sp)
	}
	c.credit = min(c.credit, keepCredit)
}

func cleanCost(cfg *StateConfig, t *table) uint64 {
	if t == nil || cfg.TTLMs == 0 {
		return 1
	}
	return 1 + uint64(t.entries) + uint64(t.bytes)/cleanBytes
}

// next moves to the next table, past states without a TTL.
func (c *cleaner) next(sp *space) {
	c.group++
	if c.group < sp.cfg.End-sp.cfg.Start && sp.cfg.States[c.state].TTLMs > 0 {
		return
	}
	c.group = 0
	for {
		c.state = (c.state + 1) % uint32(len(sp.cfg.States))
		if sp.cfg.States[c.state].TTLMs > 0 {
			return
		}
	}
}

// within reports whether the place is one of the space.
func (c cleaner) within(cfg *SpaceConfig) bool {
	return (c.state == 0 || int(c.state) < len(cfg.States)) && (c.group == 0 || c.group < cfg.End-cfg.Start)
}

// dropExpired removes all that is over from the states with a TTL that are above
// their limit, and reports whether there are such states.
func (sp *space) dropExpired(nowMs int64) (dropped bool) {
	for si := range sp.live {
		limit := sp.cfg.States[si].MaxBytes
		if sp.cfg.States[si].TTLMs == 0 || limit == 0 || sp.live[si].bytes <= limit {
			continue
		}
		dropped = true
		for g := range sp.live[si].groups {
			sp.cleanTable(si, g, nowMs)
		}
	}
	return dropped
}

// cleanTable removes what is over from one table. A table with nothing to remove is
// only read.
func (sp *space) cleanTable(si, group int, nowMs int64) {
	cfg, d := &sp.cfg.States[si], &sp.live[si]
	t := d.table(group)
	if t == nil || cfg.TTLMs == 0 {
		return
	}
	var expired [][]byte // copies: the table moves entries
	t.each(func(_ uint32, key, value []byte) bool {
		if cfg.rules().AnyExpired(value, nowMs) {
			expired = append(expired, slices.Clone(key))
		}
		return true
	})
	for _, key := range expired {
		hash := uint32(xxhash.Sum64(key))
		value, _ := d.table(group).get(hash, key)
		if live, found := cfg.Live(nil, value, nowMs); found {
			sp.applyOp(d, group, TypeOther, OpPut, hash, key, live)
		} else {
			sp.remove(d, group, hash, key)
		}
	}
}
