package keyed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// model is the oracle: Go maps, copied for every version.
type model struct {
	cfg      SpaceConfig
	live     modelImage
	versions map[uint64]modelImage
	now      int64
	// twin is a replica that was restored from snapshots now and then.
	twin *Store
}

type modelImage map[uint32]map[string]cell // state, key

func (im modelImage) clone() modelImage {
	out := modelImage{}
	for id, m := range im {
		out[id] = maps.Clone(m)
	}
	return out
}

// stored is what the state must show at now: without what is over.
func (im modelImage) stored(cfg *StateConfig, now int64) map[string]string {
	out := map[string]string{}
	for key, c := range im[cfg.ID] {
		if live := c.live(cfg, now); live.found {
			out[key] = string(live.encode(cfg))
		}
	}
	return out
}

func bytesOf(m map[string]string) (n int64) {
	for k, v := range m {
		n += int64(len(k) + len(v))
	}
	return n
}

func emptyImage(cfg SpaceConfig) modelImage {
	im := modelImage{}
	for _, s := range cfg.States {
		im[s.ID] = map[string]cell{}
	}
	return im
}

// modelSection is a section as the model sees it.
type modelSection struct {
	cfg  *StateConfig
	keys []string
	ops  []operand
}

func (ms modelSection) section() *Section {
	sec := section(ms.cfg.ID)
	for i, o := range ms.ops {
		sec.op(o.op, ms.keys[i], string(o.encode(ms.cfg.Kind)))
	}
	return sec
}

// apply returns what the flush is refused with, nil if it is applied.
func (m *model) apply(sections []modelSection) error {
	next := m.live.clone()
	touched := map[uint32]bool{}
	for _, ms := range sections {
		for i, o := range ms.ops {
			touched[ms.cfg.ID] = true
			c := next[ms.cfg.ID][ms.keys[i]].apply(ms.cfg, o, m.now)
			if !c.found {
				delete(next[ms.cfg.ID], ms.keys[i])
				continue
			}
			next[ms.cfg.ID][ms.keys[i]] = c
			if len(c.encode(ms.cfg)) > int(m.cfg.MaxValueBytes) {
				return ErrValueTooLarge
			}
		}
	}
	for i := range m.cfg.States {
		s := &m.cfg.States[i]
		if touched[s.ID] && s.MaxBytes > 0 && bytesOf(next.stored(s, m.now)) > s.MaxBytes {
			return ErrStateTooLarge
		}
	}
	m.live = next
	return nil
}

func modelOp(state map[string]string, op Op, float bool, key, value string) {
	old, ok := state[key]
	switch {
	case op == OpDelete:
		delete(state, key)
	case op == OpPut || !ok:
		state[key] = value
	case float:
		a, b := toF64(old), toF64(value)
		state[key] = f64(map[Op]float64{OpAdd: a + b, OpMin: math.Min(a, b), OpMax: math.Max(a, b)}[op])
	default:
		a, b := toI64(old), toI64(value)
		state[key] = i64(map[Op]int64{OpAdd: a + b, OpMin: min(a, b), OpMax: max(a, b)}[op])
	}
}

func toI64(s string) int64   { return int64(binary.LittleEndian.Uint64([]byte(s))) }
func toF64(s string) float64 { return math.Float64frombits(binary.LittleEndian.Uint64([]byte(s))) }

func (m *model) drawSection(t *rapid.T) modelSection {
	ms := modelSection{cfg: &m.cfg.States[rapid.IntRange(0, len(m.cfg.States)-1).Draw(t, "state")]}
	for range rapid.IntRange(0, 40).Draw(t, "ops") {
		// A small key space, so that flushes hit the same keys again.
		key := string(bytes.Repeat([]byte{'k'}, rapid.IntRange(0, 3).Draw(t, "prefix"))) +
			string(rune('a'+rapid.IntRange(0, 25).Draw(t, "key")))
		ms.keys = append(ms.keys, key)
		o := drawOperand(t, ms.cfg)
		if ms.cfg.Kind == KindValue && ms.cfg.Type == TypeOther {
			o.value = string(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value"))
		}
		if o.op == OpDelete {
			o.value = ""
		}
		ms.ops = append(ms.ops, o)
	}
	return ms
}

// compare checks the store against the model, read in three ways.
func (m *model) compare(t *rapid.T, tb testing.TB, s *Store) {
	images := maps.Clone(m.versions)
	images[0] = m.live
	for version, im := range images {
		for i := range m.cfg.States {
			st := &m.cfg.States[i]
			all := contents(tb, s, 1, version, st.ID, 7)
			got := map[string]string{}
			for key, v := range all {
				if live, ok := st.Live(nil, []byte(v), m.now); ok {
					got[key] = string(live)
				}
			}
			want := im.stored(st, m.now)
			if !maps.Equal(got, want) {
				t.Fatalf("version %d, state %d: got %q, want %q", version, st.ID, got, want)
			}
			for key := range all {
				v := Values{NowMs: m.now}
				mustDo(tb, s.Get(1, version, st.ID, ByHash, []uint32{uint32(len(key))}, []byte(key), &v))
				w, found := want[key]
				if st.ReturnExpired {
					w, found = all[key], true
				}
				if ok := v.Found[0] == 1; ok != found || string(v.Values) != w {
					t.Fatalf("version %d, state %d, key %q: got %q %v, want %q", version, st.ID, key, v.Values, ok, w)
				}
			}
			if version != 0 {
				continue
			}
			bytes, entries, err := s.Bytes(1, st.ID)
			if err != nil || bytes != bytesOf(all) || entries != int64(len(all)) {
				t.Fatalf("state %d: %d bytes, %d entries, %v", st.ID, bytes, entries, err)
			}
		}
	}
}

func TestStore_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.States[0].MaxBytes = int64(rapid.SampledFrom([]int{0, 2000, 6000}).Draw(rt, "limit"))
		cfg.States[1].MaxBytes = int64(rapid.SampledFrom([]int{0, 200}).Draw(rt, "int limit"))
		cfg.States[3].MaxBytes = int64(rapid.SampledFrom([]int{0, 500}).Draw(rt, "list limit"))
		cfg.States[8].MaxBytes = int64(rapid.SampledFrom([]int{0, 300}).Draw(rt, "TTL limit"))
		s := newStore(t, cfg)
		m := &model{cfg: cfg, live: emptyImage(cfg), versions: map[uint64]modelImage{}, now: 1000, twin: newStore(t, cfg)}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			m.step(rt, t, s)
		}
		m.compare(rt, t, s)
		if s.Hash() != m.twin.Hash() {
			rt.Fatal("a replica that came from a snapshot differs")
		}
	})
}

// step does one random thing to all.
func (m *model) step(rt *rapid.T, t *testing.T, s *Store) {
	version := uint64(rapid.IntRange(1, 4).Draw(rt, "version"))
	m.now += int64(rapid.IntRange(0, 50).Draw(rt, "ms"))
	switch rapid.IntRange(0, 9).Draw(rt, "step") {
	case 0:
		err := s.Freeze(1, version)
		if _, ok := m.versions[version]; ok != errors.Is(err, ErrVersionExists) {
			rt.Fatalf("freeze %d: %v", version, err)
		}
		if err == nil {
			m.versions[version] = m.live.clone()
			mustDo(t, m.twin.Freeze(1, version))
		}
	case 1:
		mustDo(t, s.DropVersion(1, version))
		mustDo(t, m.twin.DropVersion(1, version))
		delete(m.versions, version)
	case 2:
		mustDo(t, s.DropVersionsBelow(1, version))
		mustDo(t, m.twin.DropVersionsBelow(1, version))
		maps.DeleteFunc(m.versions, func(v uint64, _ modelImage) bool { return v < version })
	case 3:
		err := s.Restore(1, version)
		_ = m.twin.Restore(1, version)
		if im, ok := m.versions[version]; ok {
			m.live = im.clone()
		} else if !errors.Is(err, ErrUnknownVersion) {
			rt.Fatalf("restore %d: %v", version, err)
		}
	case 4:
		before := m.twin.Hash()
		m.twin = reread(t, m.twin)
		if m.twin.Hash() != before {
			rt.Fatal("hash changed by a snapshot")
		}
	default:
		m.flush(rt, t, s)
	}
}

func (m *model) flush(rt *rapid.T, t *testing.T, s *Store) {
	var sections []Section
	var want []modelSection
	for range rapid.IntRange(0, 3).Draw(rt, "sections") {
		want = append(want, m.drawSection(rt))
		sections = append(sections, *want[len(want)-1].section())
	}
	before, view := s.Hash(), s.Capture()
	err := s.Apply(1, sections, m.now)
	if refused := m.apply(want); !errors.Is(err, refused) || (refused == nil) != (err == nil) {
		rt.Fatalf("apply: %v, model %v", err, refused)
	}
	if twin := m.twin.Apply(1, sections, m.now); (twin == nil) != (err == nil) {
		rt.Fatalf("apply: %v, on a replica that came from a snapshot %v", err, twin)
	}
	// What is over may go from a state with a TTL that is full.
	if err != nil && s.Hash() != before && m.cfg.States[8].MaxBytes == 0 {
		rt.Fatal("a refused flush changed something")
	}
	if view.Hash() != before {
		rt.Fatal("a flush changed a view")
	}
}
