package filesystem

import (
	"context"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// slackTombs is the bytes of deletions that are kept for the next snapshot,
// beyond the size of the state.
const slackTombs = 1 << 20

// snapshot implements [backend.Snapshot].
type snapshot struct {
	s             *state
	checkpoint    uint64
	gen           uint32 // everything up to it belongs to the snapshot
	logged, tombs int64  // those of the era at the cut
	entries       []int64
	bytes         int64
	written       bool

	items items
}

// forget gives up the deletions that the next snapshots would have to be told, once
// they are more than the state: the next one is full. The caller holds mu.
func (sn *snapshot) forget() {
	er := &sn.s.era
	if er.tombs-er.tombsAtFull > sn.bytes+slackTombs {
		er.full, er.tombsAtFull = sn.gen, er.tombs
	}
}

// plan is what a snapshot writes: the new file has what changed after from, all of
// it if keep is empty.
type plan struct {
	keep   []part
	from   uint32
	merged bool
	tombs  int64
}

func (p *plan) isFull() bool { return len(p.keep) == 0 }

// plan decides what to write on top of base. It writes everything anew once the
// files of changes would be half as large again as the state: what is written is so
// at most twice the changes, with what entries take beside key and value, and a
// restore reads at most two and a half times the state.
func (sn *snapshot) plan(base *backend.Base, incremental bool) plan {
	s := sn.s
	s.mu.Lock()
	defer s.mu.Unlock()
	all := plan{tombs: sn.tombs}
	c := s.chains.base(base)
	if c == nil {
		return all
	}
	usable := c.full() >= s.era.full
	if c.full() > s.era.full {
		s.era.full, s.era.tombsAtFull = c.full(), c.tombs
	}
	switch small := c.small(); {
	case !incremental || !usable || c.deltaBytes()+sn.logged-c.logged >= sn.bytes+sn.bytes/2:
		return all
	case small > maxMerged:
		return all
	case len(c.parts)-small >= maxSmall:
		return plan{keep: c.parts[:small], from: c.parts[small].from, merged: true, tombs: c.tombs}
	default:
		return plan{keep: c.parts, from: c.to(), tombs: c.tombs}
	}
}

// Write implements [backend.Snapshot]. Until it has succeeded the state keeps all
// that the cut has, so that it can be called again.
func (sn *snapshot) Write(ctx context.Context, files backend.Files, base *backend.Base, incremental bool) ([]*holdfastv1.StateHandle, error) {
	if sn.written {
		return nil, fmt.Errorf("write the snapshot of checkpoint %d: it is written", sn.checkpoint)
	}
	p := sn.plan(base, incremental)
	name := fmt.Sprintf("changes-%d", sn.checkpoint)
	if p.isFull() {
		name = fmt.Sprintf("full-%d", sn.checkpoint)
	}
	w, err := files.Create(ctx, name, Name, incremental)
	if err != nil {
		return nil, fmt.Errorf("write the snapshot of checkpoint %d: %w", sn.checkpoint, err)
	}
	if err := sn.write(ctx, w, &p); err != nil {
		w.Abort()
		return nil, fmt.Errorf("write the snapshot of checkpoint %d: %w", sn.checkpoint, err)
	}
	h, err := w.Commit()
	if err != nil {
		return nil, fmt.Errorf("write the snapshot of checkpoint %d: %w", sn.checkpoint, err)
	}
	c := &chain{logged: sn.logged, tombs: p.tombs}
	for _, old := range p.keep {
		c.parts = append(c.parts, old.shared())
	}
	c.parts = append(c.parts, part{handle: h, from: p.from, to: sn.gen, merged: p.merged})
	sn.s.mu.Lock()
	defer sn.s.mu.Unlock()
	sn.s.chains.add(sn.checkpoint, c)
	sn.written = true
	if sn.s.open == sn {
		sn.s.era.held = false
	}
	return c.handles(), nil
}

// write writes the file of a plan, table after table in the order of state and key
// group.
func (sn *snapshot) write(ctx context.Context, to backend.Writer, p *plan) error {
	s := sn.s
	w := newFileWriter(to)
	w.header(&header{full: p.isFull(), checkpoint: sn.checkpoint, space: &s.cfg, entries: sn.entries})
	for si := range s.cfg.States {
		for g := range int(s.cfg.End - s.cfg.Start) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := sn.collect(si, g, p); err != nil {
				return err
			}
			sn.items.write(w, s.cfg.States[si].ID, s.cfg.Start+uint32(g))
			if w.err != nil {
				return w.err
			}
		}
	}
	return w.close()
}

// collect finds what a table has for the plan, and lets go of the table: what it
// found cannot change.
func (sn *snapshot) collect(si, group int, p *plan) error {
	s := sn.s
	from := p.from
	if p.isFull() {
		from = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sn.items.reset()
	if s.err != nil {
		return s.err
	}
	t := s.states[si].groups[group]
	if t == nil {
		return nil
	}
	return sn.items.collect(s, t, from, sn.gen, p.isFull())
}

// Release implements [backend.Snapshot].
func (sn *snapshot) Release() {
	sn.s.mu.Lock()
	defer sn.s.mu.Unlock()
	sn.items = items{}
	if sn.s.open == sn {
		sn.s.era.held, sn.s.open = false, nil
	}
}
