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
}

type modelImage map[uint32]map[string]string // state, key, value

func (im modelImage) clone() modelImage {
	out := modelImage{}
	for id, m := range im {
		out[id] = maps.Clone(m)
	}
	return out
}

func (im modelImage) bytes(state uint32) (n int64) {
	for k, v := range im[state] {
		n += int64(len(k) + len(v))
	}
	return n
}

func emptyImage(cfg SpaceConfig) modelImage {
	im := modelImage{}
	for _, s := range cfg.States {
		im[s.ID] = map[string]string{}
	}
	return im
}

// apply returns false if the flush is too large for some state.
func (m *model) apply(sections []Section) bool {
	next := m.live.clone()
	touched := map[uint32]bool{}
	for _, sec := range sections {
		keys, values := sec.Keys, sec.Values
		for i, op := range sec.Ops {
			touched[sec.StateID] = true
			key, value := string(keys[:sec.KeyLengths[i]]), string(values[:sec.ValueLengths[i]])
			keys, values = keys[len(key):], values[len(value):]
			modelOp(next[sec.StateID], op, sec.StateID == stFloat, key, value)
		}
	}
	for _, s := range m.cfg.States {
		if touched[s.ID] && s.MaxBytes > 0 && next.bytes(s.ID) > s.MaxBytes {
			return false
		}
	}
	m.live = next
	return true
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

func drawSection(t *rapid.T) *Section {
	id := rapid.SampledFrom([]uint32{stBytes, stInt, stFloat}).Draw(t, "state")
	sec := section(id)
	for range rapid.IntRange(0, 40).Draw(t, "ops") {
		// A small key space, so that flushes hit the same keys again.
		key := string(bytes.Repeat([]byte{'k'}, rapid.IntRange(0, 3).Draw(t, "prefix"))) +
			string(rune('a'+rapid.IntRange(0, 25).Draw(t, "key")))
		switch id {
		case stBytes:
			if rapid.IntRange(0, 3).Draw(t, "op") == 0 {
				sec.op(OpDelete, key, "")
			} else {
				sec.put(key, string(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")))
			}
		default:
			op := rapid.SampledFrom([]Op{OpPut, OpDelete, OpAdd, OpMin, OpMax}).Draw(t, "op")
			value := i64(rapid.Int64().Draw(t, "int"))
			if id == stFloat {
				value = f64(float64(rapid.IntRange(-1000, 1000).Draw(t, "float")))
			}
			if op == OpDelete {
				value = ""
			}
			sec.op(op, key, value)
		}
	}
	return sec
}

// compare checks the store against the model, read in three ways.
func (m *model) compare(t *rapid.T, tb testing.TB, s *Store) {
	images := maps.Clone(m.versions)
	images[0] = m.live
	for version, im := range images {
		for _, st := range m.cfg.States {
			if got := contents(tb, s, 1, version, st.ID, 7); !maps.Equal(got, im[st.ID]) {
				t.Fatalf("version %d, state %d: got %q, want %q", version, st.ID, got, im[st.ID])
			}
			for key, want := range im[st.ID] {
				if got, ok := get(tb, s, version, st.ID, key); !ok || got != want {
					t.Fatalf("version %d, state %d, key %q: got %q %v, want %q", version, st.ID, key, got, ok, want)
				}
			}
		}
	}
	for _, st := range m.cfg.States {
		bytes, entries, err := s.Bytes(1, st.ID)
		if err != nil || bytes != m.live.bytes(st.ID) || entries != int64(len(m.live[st.ID])) {
			t.Fatalf("state %d: %d bytes, %d entries, %v", st.ID, bytes, entries, err)
		}
	}
}

func TestStore_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.States[0].MaxBytes = int64(rapid.SampledFrom([]int{0, 2000, 6000}).Draw(rt, "limit"))
		cfg.States[1].MaxBytes = int64(rapid.SampledFrom([]int{0, 200}).Draw(rt, "int limit"))
		s := newStore(t, cfg)
		m := &model{cfg: cfg, live: emptyImage(cfg), versions: map[uint64]modelImage{}}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			s = m.step(rt, t, s)
		}
		m.compare(rt, t, s)
	})
}

// step does one random thing to both and returns the store to go on with.
func (m *model) step(rt *rapid.T, t *testing.T, s *Store) *Store {
	version := uint64(rapid.IntRange(1, 4).Draw(rt, "version"))
	switch rapid.IntRange(0, 9).Draw(rt, "step") {
	case 0:
		err := s.Freeze(1, version)
		if _, ok := m.versions[version]; ok != errors.Is(err, ErrVersionExists) {
			rt.Fatalf("freeze %d: %v", version, err)
		}
		if err == nil {
			m.versions[version] = m.live.clone()
		}
	case 1:
		mustDo(t, s.DropVersion(1, version))
		delete(m.versions, version)
	case 2:
		mustDo(t, s.DropVersionsBelow(1, version))
		maps.DeleteFunc(m.versions, func(v uint64, _ modelImage) bool { return v < version })
	case 3:
		err := s.Restore(1, version)
		if im, ok := m.versions[version]; ok {
			m.live = im.clone()
		} else if !errors.Is(err, ErrUnknownVersion) {
			rt.Fatalf("restore %d: %v", version, err)
		}
	case 4:
		before := s.Hash()
		s = reread(t, s)
		if s.Hash() != before {
			rt.Fatal("hash changed by a snapshot")
		}
	default:
		m.flush(rt, t, s)
	}
	return s
}

func (m *model) flush(rt *rapid.T, t *testing.T, s *Store) {
	sections := []Section{}
	for range rapid.IntRange(0, 3).Draw(rt, "sections") {
		sections = append(sections, *drawSection(rt))
	}
	before, view := s.Hash(), s.Capture()
	err := s.Apply(1, sections)
	if ok := m.apply(sections); ok != (err == nil) || !ok && !errors.Is(err, ErrStateTooLarge) {
		rt.Fatalf("apply: %v, model %v", err, ok)
	}
	if err != nil && s.Hash() != before {
		rt.Fatal("a refused flush changed something")
	}
	if view.Hash() != before {
		rt.Fatal("a flush changed a view")
	}
}
