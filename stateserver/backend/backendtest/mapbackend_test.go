package backendtest

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// faults are what can be planted in mapBackend.
type faults struct {
	lostDelete      bool // Apply takes a DELETE of a key that a snapshot has for done
	lostTombstone   bool // a snapshot of changes does not tell deletions
	lateCut         bool // a snapshot sees what was changed before it was written
	keepsOldKey     bool // Restore puts one key of the base back that is not there any more
	mixedNamespace  bool // one state reads a key of another one that it does not have itself
	lastBlock       bool // a snapshot ends before its last entries
	skipsUnderWrite bool // a page of Scan passes over keys where something was written since
	partialBatch    bool // a refused batch leaves what stood before the bad section
	silentDamage    bool // a part that is cut short restores what is there
	abortedBase     bool // changes are told to the next snapshot only, completed or not
	noSizes         bool // Bytes says that nothing is there
	forgetsTTL      bool // what is over is read
	growsForever    bool // a list or map may be larger than a value
	lostByFailure   bool // a Write that fails lets go of what was changed since the cut
	oneCutEach      bool // what was restored has the name of the last state's snapshot
}

// mapBackend is the simplest backend there is, for faults to be planted in.
type mapBackend struct{ faults faults }

func (f faults) factory(backend.Env) (backend.Backend, error) { return &mapBackend{f}, nil }

func (b *mapBackend) Open(_ context.Context, spec backend.Spec) (backend.State, error) {
	cfg, err := spec.Space.Normalize()
	if err != nil {
		return nil, err
	}
	return &mapState{b: b, o: newOracle(cfg), cfg: cfg, changed: map[place]uint64{}, cut: 1}, nil
}

func (b *mapBackend) Close() error { return nil }

func (b *mapBackend) ReadSnapshot(ctx context.Context, spec backend.Spec, files backend.Files, handles []*holdfastv1.StateHandle) (backend.Entries, error) {
	st, err := b.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := st.Restore(ctx, files, handles); err != nil {
		return nil, err
	}
	return &slice{list: st.(*mapState).o.entries()}, nil
}

type mapState struct {
	b        *mapBackend
	cfg      keyed.SpaceConfig
	o        *oracle
	batch    keyed.Batch
	changed  map[place]uint64 // in which cut
	cut      uint64
	bases    map[uint64]uint64 // cut of a checkpoint
	writes   int
	scanned  int
	closed   bool
	restored bool
	sorted   []backend.Entry // nil: something was written since
}

func (s *mapState) Apply(sections []keyed.Section, nowMs int64) error {
	if s.closed {
		return errors.New("closed")
	}
	s.o.now = nowMs
	if err := s.batch.Check(&s.cfg, sections); err != nil {
		if s.b.faults.partialBatch && len(sections) > 1 {
			s.o.apply(sections[:1])
		}
		return err
	}
	var limited bool
	for _, c := range s.cfg.States {
		limited = limited || c.MaxBytes > 0
	}
	if limited {
		if err := s.limits(sections); err != nil {
			return err
		}
	}
	if err := s.valuesFit(sections); err != nil {
		return err
	}
	for i := range sections {
		s.applySection(&sections[i])
	}
	s.sorted = nil
	s.writes++
	return nil
}

func (s *mapState) applySection(sec *keyed.Section) {
	one := *sec
	one.Keys, one.Values = sec.Keys, sec.Values
	for i, op := range sec.Ops {
		k, v := sec.KeyLengths[i], sec.ValueLengths[i]
		key, operand := one.Keys[:k], one.Values[:v]
		one.Keys, one.Values = one.Keys[k:], one.Values[v:]
		p := place{sec.StateID, s.o.group(sec.KeyGroup, key), string(key)}
		_, there := s.o.values[p]
		if op == keyed.OpDelete && (!there || s.b.faults.lostDelete && s.changed[p] < s.cut) {
			continue
		}
		s.o.apply([]keyed.Section{{StateID: sec.StateID, KeyGroup: sec.KeyGroup, Ops: []byte{op}, KeyLengths: []uint32{k}, Keys: key, ValueLengths: []uint32{v}, Values: operand}})
		s.changed[p] = s.cut
	}
}

func (s *mapState) limits(sections []keyed.Section) error {
	after := s.o.clone()
	after.apply(sections)
	for _, c := range s.cfg.States {
		var n int64
		for p, v := range after.values {
			if p.state == c.ID {
				n += int64(len(p.key) + len(v))
			}
		}
		if c.MaxBytes > 0 && n > c.MaxBytes {
			return &keyed.StateTooLargeError{StateID: c.ID, Bytes: n, Limit: c.MaxBytes}
		}
	}
	return nil
}

// valuesFit is right for batches of one section.
func (s *mapState) valuesFit(sections []keyed.Section) error {
	if s.b.faults.growsForever {
		return nil
	}
	after := s.o.clone()
	after.apply(sections)
	for p, v := range after.values {
		if len(v) > int(s.cfg.MaxValueBytes) {
			return &keyed.ValueTooLargeError{StateID: p.state, KeyBytes: len(p.key), Bytes: len(v), Limit: int(s.cfg.MaxValueBytes)}
		}
	}
	return nil
}

func (s *mapState) value(p place) (string, bool) {
	v, ok := s.o.values[p]
	if !ok && s.b.faults.mixedNamespace && p.state == stateOther {
		p.state = stateBytes
		v, ok = s.o.values[p]
	}
	return v, ok
}

func (s *mapState) Get(id uint32, group int64, lengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error {
	if _, err := s.cfg.StateIndex(id); err != nil {
		return err
	}
	if _, err := s.cfg.CheckKeys(group, lengths, keys); err != nil {
		return err
	}
	from := len(dst.Values)
	for _, n := range lengths {
		v, ok := s.value(place{id, s.o.group(group, keys[:n]), string(keys[:n])})
		if visible := []byte(v); ok && !s.b.faults.forgetsTTL {
			visible, ok = s.o.config(id).Visible(nil, visible, nowMs)
			v = string(visible)
		}
		if !dst.Add([]byte(v), ok, from) {
			break
		}
		keys = keys[n:]
	}
	return nil
}

func (s *mapState) Scan(id uint32, after keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	if _, err := s.cfg.StateIndex(id); err != nil {
		return page, next, false, err
	}
	skip := s.b.faults.skipsUnderWrite && after.AfterKey && s.writes > s.scanned
	s.scanned = s.writes
	if s.sorted == nil {
		s.sorted = s.o.entries()
	}
	at := backend.Entry{StateID: id, KeyGroup: after.KeyGroup, Key: after.Key}
	i, found := slices.BinarySearchFunc(s.sorted, at, compareEntries)
	if found && after.AfterKey {
		i++
	}
	for _, e := range s.sorted[i:] {
		if e.StateID != id {
			break
		}
		if skip {
			skip = false
			continue
		}
		if len(page.KeyLengths) == limit || !page.Add(e.KeyGroup, e.Key, e.Value, maxBytes) {
			return page, page.Last(), false, nil
		}
	}
	return page, next, true, nil
}

func (s *mapState) Bytes(id uint32) (bytes, entries int64, err error) {
	if _, err := s.cfg.StateIndex(id); err != nil {
		return 0, 0, err
	}
	for p, v := range s.o.values {
		if p.state == id && !s.b.faults.noSizes {
			bytes += int64(len(p.key) + len(v))
			entries++
		}
	}
	return bytes, entries, nil
}

func (s *mapState) Load(_ context.Context, from backend.Entries) error {
	for from.Next() {
		e := from.Entry()
		if e.KeyGroup >= s.cfg.Start && e.KeyGroup < s.cfg.End {
			p := place{e.StateID, e.KeyGroup, string(e.Key)}
			s.o.values[p] = string(e.Value)
			s.changed[p] = s.cut
			s.sorted = nil
		}
	}
	return from.Err()
}

func (s *mapState) Close() error {
	s.closed = true
	return nil
}

func (s *mapState) Cut(checkpoint uint64) (backend.Snapshot, error) {
	if s.restored && checkpoint == 0 && s.b.faults.oneCutEach {
		return nil, errors.New("checkpoint 0 is there")
	}
	s.cut++
	sn := &mapSnapshot{s: s, checkpoint: checkpoint, cut: s.cut - 1, values: maps.Clone(s.o.values), changed: maps.Clone(s.changed)}
	return sn, nil
}

type mapSnapshot struct {
	s               *mapState
	checkpoint, cut uint64
	values          map[place]string
	changed         map[place]uint64
	failed          bool // so far
}

// change is a line of a part.
type change struct {
	State, Group uint32
	Key, Value   string
	Removed      bool
}

func (sn *mapSnapshot) Release() {}

func (sn *mapSnapshot) Write(ctx context.Context, files backend.Files, base *backend.Base, incremental bool) ([]*holdfastv1.StateHandle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if sn.failed && sn.s.b.faults.lostByFailure {
		maps.DeleteFunc(sn.values, func(p place, _ string) bool { return sn.s.changed[p] > sn.cut })
	}
	sn.failed = true
	if sn.s.b.faults.lateCut {
		sn.values = maps.Clone(sn.s.o.values)
	}
	from, known := uint64(0), false
	var handles []*holdfastv1.StateHandle
	if base != nil && incremental {
		if from, known = sn.s.bases[base.ID]; known {
			handles = slices.Clone(base.Handles)
		}
	}
	if known && sn.s.b.faults.abortedBase {
		from = sn.cut - 1
	}
	var lines []change
	for p, v := range sn.values {
		if !known || sn.changed[p] > from {
			lines = append(lines, change{p.state, p.group, p.key, v, false})
		}
	}
	for p, c := range sn.changed {
		if _, ok := sn.values[p]; !ok && known && c > from && !sn.s.b.faults.lostTombstone {
			lines = append(lines, change{State: p.state, Group: p.group, Key: p.key, Removed: true})
		}
	}
	if n := len(lines); sn.s.b.faults.lastBlock && n > 10 {
		lines = lines[:n-n/10]
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(lines); err != nil {
		return nil, err
	}
	w, err := files.Create(ctx, fmt.Sprint("part-", sn.checkpoint), "map", true)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		w.Abort()
		return nil, err
	}
	h, err := w.Commit()
	if err != nil {
		return nil, err
	}
	if sn.s.bases == nil {
		sn.s.bases = map[uint64]uint64{}
	}
	sn.s.bases[sn.checkpoint] = sn.cut
	return append(handles, h), nil
}

func (s *mapState) Restore(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) error {
	var old change
	s.sorted, s.restored = nil, true
	for _, h := range handles {
		r, err := files.Open(ctx, h)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil && !s.b.faults.silentDamage {
			return err
		}
		var lines []change
		if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&lines); h.Format != "map" || err != nil && !s.b.faults.silentDamage {
			return fmt.Errorf("%w: %s: %s", backend.ErrDamaged, h.File, fmt.Sprint(err))
		}
		for _, l := range lines {
			if l.Removed {
				delete(s.o.values, place{l.State, l.Group, l.Key})
				old = l
			} else {
				s.o.values[place{l.State, l.Group, l.Key}] = l.Value
			}
		}
	}
	if s.b.faults.keepsOldKey && old.Removed {
		s.o.values[place{old.State, old.Group, old.Key}] = "12345678"
	}
	return nil
}
