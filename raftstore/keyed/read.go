package keyed

import (
	"io"

	"github.com/cespare/xxhash/v2"
)

// Read builds a Store from what View.Write wrote. It reads up to the end
// record and not a byte further, in small pieces: hand it a buffered reader.
// Shared tables are shared again. Everything is checked; garbage is an error,
// never a panic, and takes memory in proportion to the input. Errors:
// ErrCorruptSnapshot, and those of r.
func Read(r io.Reader) (*Store, error) {
	rr := &recordReader{r: r, sum: xxhash.New()}
	if err := readHeader(rr); err != nil {
		return nil, err
	}
	re := &restorer{}
	for {
		typ, b, err := rr.next()
		if err != nil {
			return nil, err
		}
		p := &payload{b: b}
		if typ == recordEnd {
			if sum := p.u64(); !p.done() || sum != rr.sum.Sum64() {
				return nil, wrapf(ErrCorruptSnapshot, "checksum differs")
			}
			return re.finish()
		}
		if err := re.record(typ, p); err != nil {
			return nil, err
		}
	}
}

func readHeader(rr *recordReader) error {
	typ, b, err := rr.next()
	if err != nil {
		return err
	}
	p := &payload{b: b}
	if typ != recordHeader || string(p.bytes(uint32(len(snapshotMagic)))) != snapshotMagic {
		return wrapf(ErrCorruptSnapshot, "not a snapshot of keyed state")
	}
	if format := p.u32(); !p.done() || format != snapshotFormat {
		return wrapf(ErrCorruptSnapshot, "format %d, want %d", format, snapshotFormat)
	}
	return nil
}

// restorer collects spaces record by record. Directories are made at the end
// only, after the checksum: they are larger than the records that ask for
// them.
type restorer struct {
	spaces []*restoredSpace
	open   *openTable // the table that entries records belong to
}

type restoredSpace struct {
	id     uint64
	cfg    SpaceConfig
	images []restoredImage
	tables []placed // by number
	clean  cleaner
}

type restoredImage struct {
	version uint64
	places  []placed // ascending
}

// placed is a table with its place: indices of state and key group.
type placed struct {
	state, group int
	table        *table
}

type openTable struct {
	placed
	entries, bytes uint64 // as declared
}

// The epochs of restored tables and spaces: those that only the live state
// refers to are its own, the others are cloned on the first write.
const (
	sharedEpoch = 0
	ownEpoch    = 1
)

// record takes one record in.
func (re *restorer) record(typ byte, p *payload) error {
	if typ == recordEntries {
		return re.entries(p)
	}
	if err := re.closeTable(); err != nil {
		return err
	}
	switch typ {
	case recordSpace:
		return re.space(p)
	case recordImage:
		return re.image(p)
	case recordTable:
		return re.table(p)
	case recordRef:
		return re.ref(p)
	}
	return wrapf(ErrCorruptSnapshot, "record type %d", typ)
}

func (re *restorer) space(p *payload) error {
	sp := &restoredSpace{id: p.u64()}
	c := &sp.cfg
	c.Start, c.End, c.NumGroups = p.u32(), p.u32(), p.u32()
	co := p.u8()
	c.CoPartitioned = co == 1
	c.MaxKeyBytes, c.MaxValueBytes = p.u32(), p.u32()
	n := p.u32()
	for i := uint32(0); i < n && !p.short; i++ {
		st := StateConfig{ID: p.u32(), Kind: Kind(p.u8()), Type: Type(p.u8()), TTLMs: int64(p.u64())}
		returns := p.u8()
		st.ReturnExpired = returns == 1
		co = max(co, returns)
		st.MaxBytes = int64(p.u64())
		c.States = append(c.States, st)
	}
	sp.clean = cleaner{state: p.u32(), group: p.u32(), credit: p.u64()}
	if !p.done() || co > 1 || c.MaxKeyBytes == 0 || c.MaxValueBytes == 0 {
		return wrapf(ErrCorruptSnapshot, "space record")
	}
	for i := 1; i < len(c.States); i++ {
		if c.States[i-1].ID >= c.States[i].ID {
			return wrapf(ErrCorruptSnapshot, "space %d: states out of order", sp.id)
		}
	}
	if err := c.check(); err != nil {
		return wrapf(ErrCorruptSnapshot, "space %d: %v", sp.id, err)
	}
	if !sp.clean.within(c) {
		return wrapf(ErrCorruptSnapshot, "space %d: cleaning at state %d, key group %d", sp.id, sp.clean.state, sp.clean.group)
	}
	if last := re.last(); last != nil && (last.id >= sp.id || len(last.images) == 0) {
		return wrapf(ErrCorruptSnapshot, "space %d after %d", sp.id, last.id)
	}
	re.spaces = append(re.spaces, sp)
	return nil
}

// last returns the space that records belong to, nil before the first.
func (re *restorer) last() *restoredSpace {
	if len(re.spaces) == 0 {
		return nil
	}
	return re.spaces[len(re.spaces)-1]
}

func (re *restorer) image(p *payload) error {
	version := p.u64()
	sp := re.last()
	if !p.done() || sp == nil {
		return wrapf(ErrCorruptSnapshot, "image record")
	}
	if n := len(sp.images); (n == 0) != (version == 0) || n > 0 && sp.images[n-1].version >= version {
		return wrapf(ErrCorruptSnapshot, "space %d: version %d out of order", sp.id, version)
	}
	sp.images = append(sp.images, restoredImage{version: version})
	return nil
}

// finish makes the Store of what was collected.
func (re *restorer) finish() (*Store, error) {
	if err := re.closeTable(); err != nil {
		return nil, err
	}
	if last := re.last(); last != nil && len(last.images) == 0 {
		return nil, wrapf(ErrCorruptSnapshot, "space %d without a live state", last.id)
	}
	s := New()
	s.epoch = ownEpoch
	for _, r := range re.spaces {
		sp := &space{cfg: r.cfg, epoch: ownEpoch, live: r.directory(&r.images[0]), clean: r.clean}
		for i := range r.images[1:] {
			im := &r.images[1+i]
			sp.versions = append(sp.versions, image{im.version, r.directory(im)})
		}
		s.spaces[r.id] = sp
	}
	return s, nil
}

// directory makes the states of an image with their sums.
func (sp *restoredSpace) directory(im *restoredImage) []stateData {
	states := make([]stateData, len(sp.cfg.States))
	for _, pl := range im.places {
		d := &states[pl.state]
		if d.groups == nil {
			d.groups = make([]*table, sp.cfg.End-sp.cfg.Start)
		}
		d.groups[pl.group] = pl.table
		d.bytes += pl.table.bytes
		d.entries += int64(pl.table.entries)
	}
	return states
}
