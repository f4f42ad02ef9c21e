package backendtest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// place is a key in a state and a key group.
type place struct {
	state, group uint32
	key          string
}

// oracle is what a state must hold.
type oracle struct {
	space  keyed.SpaceConfig
	values map[place]string
	// now is the time of what is applied and looked at.
	now int64
}

func newOracle(space keyed.SpaceConfig) *oracle {
	return &oracle{space: space, values: map[place]string{}, now: now}
}

func (o *oracle) clone() *oracle {
	return &oracle{space: o.space, values: maps.Clone(o.values), now: o.now}
}

func (o *oracle) config(state uint32) *keyed.StateConfig {
	for i := range o.space.States {
		if o.space.States[i].ID == state {
			return &o.space.States[i]
		}
	}
	return &keyed.StateConfig{ID: state}
}

// group is where a key belongs, by its hash or by what the section names.
func (o *oracle) group(named int64, key []byte) uint32 {
	if named != keyed.ByHash {
		return uint32(named)
	}
	return keyed.KeyGroup(key, o.space.NumGroups)
}

func (o *oracle) apply(sections []keyed.Section) {
	for _, s := range sections {
		keys, values := s.Keys, s.Values
		for i, op := range s.Ops {
			key, operand := keys[:s.KeyLengths[i]], values[:s.ValueLengths[i]]
			keys, values = keys[len(key):], values[len(operand):]
			p := place{s.StateID, o.group(s.KeyGroup, key), string(key)}
			old, found := o.values[p]
			cfg := o.config(s.StateID)
			switch {
			case cfg.Kind != keyed.KindValue || cfg.TTLMs > 0:
				value, kept, err := cfg.Combine(nil, op, []byte(old), found, operand, o.now)
				if err != nil {
					panic(err) // the suite's own batches are well-formed
				}
				if delete(o.values, p); kept {
					o.values[p] = string(value)
				}
			case op == keyed.OpDelete:
				delete(o.values, p)
			case op == keyed.OpPut || !found:
				o.values[p] = string(operand)
			default:
				o.values[p] = combined(cfg.Type, op, old, string(operand))
			}
		}
	}
}

// combined is ADD, MIN and MAX on numbers.
func combined(typ keyed.Type, op keyed.Op, old, operand string) string {
	a, b := binary.LittleEndian.Uint64([]byte(old)), binary.LittleEndian.Uint64([]byte(operand))
	var r uint64
	if typ == keyed.TypeInt64 {
		x, y := int64(a), int64(b)
		r = uint64(map[keyed.Op]int64{keyed.OpAdd: x + y, keyed.OpMin: min(x, y), keyed.OpMax: max(x, y)}[op])
	} else {
		x, y := math.Float64frombits(a), math.Float64frombits(b)
		r = math.Float64bits(map[keyed.Op]float64{keyed.OpAdd: x + y, keyed.OpMin: min(x, y), keyed.OpMax: max(x, y)}[op])
	}
	return string(binary.LittleEndian.AppendUint64(nil, r))
}

// entries lists everything in the order of backend.Entries.
func (o *oracle) entries() []backend.Entry {
	var out []backend.Entry
	for p, v := range o.values {
		out = append(out, backend.Entry{StateID: p.state, KeyGroup: p.group, Key: []byte(p.key), Value: []byte(v)})
	}
	slices.SortFunc(out, compareEntries)
	return out
}

func compareEntries(a, b backend.Entry) int {
	return cmp.Or(cmp.Compare(a.StateID, b.StateID), cmp.Compare(a.KeyGroup, b.KeyGroup), bytes.Compare(a.Key, b.Key))
}

func describe(e backend.Entry) string {
	return fmt.Sprintf("state %d, key group %d, key %q = %x", e.StateID, e.KeyGroup, e.Key, e.Value)
}

// difference tells the first difference between two lists of entries, "" for none.
func difference(got, want []backend.Entry) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "missing: " + describe(want[i])
		case i >= len(want):
			return "too much: " + describe(got[i])
		case compareEntries(got[i], want[i]) != 0 || !bytes.Equal(got[i].Value, want[i].Value):
			return "got " + describe(got[i]) + ", want " + describe(want[i])
		}
	}
	return ""
}

// expect compares a state with the oracle: by Scan, by Get and by Bytes.
func (o *oracle) expect(t T, st backend.State, when string) {
	t.Helper()
	want := o.entries()
	var got []backend.Entry
	for _, c := range o.space.States {
		got = append(got, scanAll(t, st, c.ID, 97, 1<<16)...)
	}
	slices.SortStableFunc(got, func(a, b backend.Entry) int { return cmp.Compare(a.StateID, b.StateID) })
	if d := difference(got, want); d != "" {
		t.Fatalf("%s: Scan: %s", when, d)
	}
	for _, c := range o.space.States {
		o.expectGet(t, st, c.ID, when)
	}
}

// expectGet asks a state for every key that any state has.
func (o *oracle) expectGet(t T, st backend.State, state uint32, when string) {
	t.Helper()
	byGroup := map[int64]map[string]bool{}
	var bytes, entries int64
	for p, v := range o.values {
		g := int64(keyed.ByHash)
		if o.space.CoPartitioned {
			g = int64(p.group)
		}
		if byGroup[g] == nil {
			byGroup[g] = map[string]bool{}
		}
		byGroup[g][p.key] = true
		if p.state == state {
			bytes += int64(len(p.key) + len(v))
			entries++
		}
	}
	for g, keys := range byGroup {
		o.expectKeys(t, st, state, g, slices.Sorted(maps.Keys(keys)), when)
	}
	gotBytes, gotEntries, err := st.Bytes(state)
	if err != nil {
		t.Fatalf("%s: Bytes of state %d: %v", when, state, err)
	}
	// A backend may estimate; one that says nothing of something has it wrong.
	if (gotBytes > 0) != (bytes > 0) || (gotEntries > 0) != (entries > 0) {
		t.Errorf("%s: Bytes of state %d: %d bytes, %d entries, want about %d and %d", when, state, gotBytes, gotEntries, bytes, entries)
	}
}

func (o *oracle) expectKeys(t T, st backend.State, state uint32, named int64, keys []string, when string) {
	t.Helper()
	got := get(t, st, state, named, keys)
	for i, k := range keys {
		want, found := o.values[place{state, o.group(named, []byte(k)), k}]
		if got[i].found != found || got[i].value != want {
			t.Fatalf("%s: Get of state %d, key %q: %v %x, want %v %x", when, state, k, got[i].found, got[i].value, found, want)
		}
	}
}
