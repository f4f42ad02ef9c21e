package keyed

import "slices"

// A space is the keyed state of one subtask.
type space struct {
	cfg  SpaceConfig // normalized
	live []stateData // by index in cfg.States
	// versions, ascending. An element is never changed, and neither is a
	// table that it refers to.
	versions []image
	// epoch rises whenever the live tables become shared with something
	// immutable. A live table of an older epoch is cloned before a write.
	epoch uint64
	clean cleaner
}

// stateData is one state: a table a key group and the sums over them.
type stateData struct {
	groups  []*table // by key group - Start; nil, or nil elements, are empty
	bytes   int64    // keys + values of live entries
	entries int64
}

// image is the contents of a space: a frozen version, or in a View the live
// state as version 0.
type image struct {
	version uint64
	states  []stateData
}

// table returns the table of a key group, nil if empty. i is relative to
// Start.
func (d *stateData) table(i int) *table {
	if d.groups == nil {
		return nil
	}
	return d.groups[i]
}

// writable returns the table of a key group for a change: created, or cloned
// if it is shared.
func (sp *space) writable(d *stateData, i int) *table {
	if d.groups == nil {
		d.groups = make([]*table, sp.cfg.End-sp.cfg.Start)
	}
	t := d.groups[i]
	switch {
	case t == nil:
		t = newTable(sp.epoch)
		d.groups[i] = t
	case isShared(t, sp.epoch):
		t = t.clone(sp.epoch)
		d.groups[i] = t
	}
	return t
}

// share returns the states with directories of their own over the same
// tables. The caller raises the epoch of whoever goes on writing.
func share(states []stateData) []stateData {
	out := slices.Clone(states)
	for i := range out {
		out[i].groups = slices.Clone(out[i].groups)
	}
	return out
}

// find returns the position of a version, or where it would go.
func (sp *space) find(version uint64) (int, bool) {
	return slices.BinarySearchFunc(sp.versions, version, func(im image, v uint64) int {
		if im.version < v {
			return -1
		}
		if im.version > v {
			return 1
		}
		return 0
	})
}

// states returns the contents of a version, 0 being the live state.
func (sp *space) states(version uint64) ([]stateData, error) {
	if version == 0 {
		return sp.live, nil
	}
	i, ok := sp.find(version)
	if !ok {
		return nil, wrapf(ErrUnknownVersion, "%d", version)
	}
	return sp.versions[i].states, nil
}

// group returns the directory index of a key, checked against what the caller
// named. hash is the key's whole hash.
func (c *SpaceConfig) group(hash uint64) (int, error) {
	g := groupOf(hash, c.NumGroups)
	if g < c.Start || g >= c.End {
		return 0, wrapf(ErrMalformed, "key of key group %d in a subtask of [%d, %d)", g, c.Start, c.End)
	}
	return int(g - c.Start), nil
}

// namedGroup returns the directory index of the key group that a section
// names, or -1 where the hash of each key decides.
func (c *SpaceConfig) namedGroup(keyGroup int64) (int, error) {
	switch {
	case !c.CoPartitioned && keyGroup == ByHash:
		return -1, nil
	case !c.CoPartitioned:
		return 0, wrapf(ErrMalformed, "key group %d named, the subtask goes by hash", keyGroup)
	case keyGroup < int64(c.Start) || keyGroup >= int64(c.End):
		return 0, wrapf(ErrMalformed, "key group %d in a co-partitioned subtask of [%d, %d)", keyGroup, c.Start, c.End)
	}
	return int(keyGroup - int64(c.Start)), nil
}
