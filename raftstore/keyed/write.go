package keyed

import (
	"fmt"
	"io"
)

// Write streams the view as a snapshot, in writes of about 64 KiB or one
// entry. A table that several versions share is written once. Errors:
// ErrReleased, and those of w.
func (v *View) Write(w io.Writer) error {
	if v.released {
		return ErrReleased
	}
	rw := newRecordWriter(w)
	rw.begin(recordHeader)
	rw.buf = append(rw.buf, snapshotMagic...)
	rw.u32(snapshotFormat)
	rw.end()
	for i := range v.spaces {
		v.spaces[i].write(rw)
		if rw.err != nil {
			break
		}
	}
	if err := rw.close(); err != nil {
		return fmt.Errorf("keyed: write snapshot: %w", err)
	}
	return nil
}

func (sp *viewSpace) write(w *recordWriter) {
	sp.writeConfig(w)
	numbers := make(map[*table]uint32) // of the tables written, from 0
	for _, im := range sp.images {
		w.begin(recordImage)
		w.u64(im.version)
		w.end()
		for si := range im.states {
			sp.writeState(w, si, &im.states[si], numbers)
		}
	}
}

func (sp *viewSpace) writeConfig(w *recordWriter) {
	c := &sp.cfg
	w.begin(recordSpace)
	w.u64(sp.id)
	w.u32(c.Start)
	w.u32(c.End)
	w.u32(c.NumGroups)
	w.u8(byte(bit(c.CoPartitioned)))
	w.u32(c.MaxKeyBytes)
	w.u32(c.MaxValueBytes)
	w.u32(uint32(len(c.States)))
	for _, s := range c.States {
		w.u32(s.ID)
		w.u8(byte(s.Kind))
		w.u8(byte(s.Type))
		w.u64(uint64(s.TTLMs))
		w.u8(byte(bit(s.ReturnExpired)))
		w.u64(uint64(s.MaxBytes))
	}
	w.u32(sp.clean.state)
	w.u32(sp.clean.group)
	w.u64(sp.clean.credit)
	w.end()
}

func (sp *viewSpace) writeState(w *recordWriter, si int, d *stateData, numbers map[*table]uint32) {
	for i, t := range d.groups {
		if w.err != nil {
			return
		}
		if t == nil || t.entries == 0 {
			continue
		}
		number, written := numbers[t]
		if !written {
			numbers[t] = uint32(len(numbers))
			w.begin(recordTable)
		} else {
			w.begin(recordRef)
		}
		w.u32(sp.cfg.States[si].ID)
		w.u32(sp.cfg.Start + uint32(i))
		if written {
			w.u32(number)
			w.end()
			continue
		}
		w.u64(uint64(t.entries))
		w.u64(uint64(t.bytes))
		w.end()
		t.write(w)
	}
}

// write streams the entries in the order of the arena.
func (t *table) write(w *recordWriter) {
	w.begin(recordEntries)
	t.each(func(_ uint32, key, value []byte) bool {
		if w.full() {
			w.end()
			w.begin(recordEntries)
		}
		w.u32(uint32(len(key)))
		w.u32(uint32(len(value)))
		w.buf = append(w.buf, key...)
		w.buf = append(w.buf, value...)
		return w.err == nil
	})
	w.end()
}
