package keyed

import "github.com/cespare/xxhash/v2"

// place reads a place and appends it to the open image, after the last one.
func (re *restorer) place(p *payload) (*restoredSpace, *placed, error) {
	sp := re.last()
	if sp == nil || len(sp.images) == 0 {
		return nil, nil, wrapf(ErrCorruptSnapshot, "table outside an image")
	}
	stateID, group := p.u32(), p.u32()
	si, err := sp.cfg.stateIndex(stateID)
	if err != nil || group < sp.cfg.Start || group >= sp.cfg.End {
		return nil, nil, wrapf(ErrCorruptSnapshot, "space %d: table of state %d, key group %d", sp.id, stateID, group)
	}
	im := &sp.images[len(sp.images)-1]
	pl := placed{state: si, group: int(group - sp.cfg.Start)}
	if n := len(im.places); n > 0 {
		prev := im.places[n-1]
		if prev.state > pl.state || prev.state == pl.state && prev.group >= pl.group {
			return nil, nil, wrapf(ErrCorruptSnapshot, "space %d: tables out of order", sp.id)
		}
	}
	im.places = append(im.places, pl)
	return sp, &im.places[len(im.places)-1], nil
}

// table opens a new table.
func (re *restorer) table(p *payload) error {
	sp, pl, err := re.place(p)
	if err != nil {
		return err
	}
	entries, bytes := p.u64(), p.u64()
	if !p.done() || entries == 0 {
		return wrapf(ErrCorruptSnapshot, "table record")
	}
	epoch := uint64(sharedEpoch)
	if len(sp.images) == 1 {
		epoch = ownEpoch
	}
	pl.table = newTableFor(epoch, entries, bytes)
	sp.tables = append(sp.tables, *pl)
	re.open = &openTable{placed: *pl, entries: entries, bytes: bytes}
	return nil
}

// maxPresize bounds the memory taken on the word of a table record, in bytes.
// One such record at a time can be wrong: the next is read only after the
// entries of this one came as declared.
const maxPresize = 4 << 20

// newTableFor returns a table with room for what a snapshot declares.
func newTableFor(epoch, entries, bytes uint64) *table {
	t := newTable(epoch)
	slots := MinIndex
	for entries < maxPresize/8 && uint64(slots)*3 < entries*4 {
		slots *= 2
	}
	t.slots = make(Index, slots)
	if entries < maxPresize/entryHeader && bytes < maxPresize-entries*entryHeader {
		t.arena = make([]byte, 0, bytes+entries*entryHeader)
	}
	return t
}

// ref places a table that an earlier image has at the same place.
func (re *restorer) ref(p *payload) error {
	sp, pl, err := re.place(p)
	if err != nil {
		return err
	}
	number := p.u32()
	if !p.done() || uint64(number) >= uint64(len(sp.tables)) {
		return wrapf(ErrCorruptSnapshot, "reference to table %d of %d", number, len(sp.tables))
	}
	target := sp.tables[number]
	if target.state != pl.state || target.group != pl.group {
		return wrapf(ErrCorruptSnapshot, "reference to table %d from another place", number)
	}
	pl.table = target.table
	pl.table.epoch = sharedEpoch
	return nil
}

// entries adds a chunk of entries to the open table.
func (re *restorer) entries(p *payload) error {
	if re.open == nil {
		return wrapf(ErrCorruptSnapshot, "entries without a table")
	}
	cfg := &re.last().cfg
	for len(p.b) > 0 {
		keyLen, valueLen := p.u32(), p.u32()
		key, value := p.bytes(keyLen), p.bytes(valueLen)
		if p.short {
			return wrapf(ErrCorruptSnapshot, "entry cut off")
		}
		if err := re.open.insert(cfg, key, value); err != nil {
			return err
		}
	}
	return nil
}

// insert adds an entry that the configuration allows and that is new.
func (o *openTable) insert(cfg *SpaceConfig, key, value []byte) error {
	if len(key) > int(cfg.MaxKeyBytes) || len(value) > int(cfg.MaxValueBytes) {
		return wrapf(ErrCorruptSnapshot, "entry of %d and %d bytes", len(key), len(value))
	}
	if err := cfg.States[o.state].CheckStored(value); err != nil {
		return wrapf(ErrCorruptSnapshot, "%v", err)
	}
	hash := xxhash.Sum64(key)
	if !cfg.CoPartitioned {
		if g, err := cfg.group(hash); err != nil || g != o.group {
			return wrapf(ErrCorruptSnapshot, "key in a foreign key group")
		}
	}
	slot, _, found := o.table.find(uint32(hash), key)
	if found {
		return wrapf(ErrCorruptSnapshot, "key twice in a table")
	}
	o.table.insert(slot, uint32(hash), key, value)
	if o.table.logicalBytes() > maxTableBytes {
		return wrapf(ErrCorruptSnapshot, "table above %d bytes", maxTableBytes)
	}
	return nil
}

// closeTable checks the totals of the open table, if any.
func (re *restorer) closeTable() error {
	o := re.open
	re.open = nil
	if o != nil && (uint64(o.table.entries) != o.entries || uint64(o.table.bytes) != o.bytes) {
		return wrapf(ErrCorruptSnapshot, "table of %d entries, %d bytes where %d, %d were declared",
			o.table.entries, o.table.bytes, o.entries, o.bytes)
	}
	return nil
}
