package backendtest

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// now is the time of every call but those of the checks of kinds: nothing else has a TTL.
const now = 1_000_000

// batch makes sections.
type batch struct{ sections []keyed.Section }

func (b *batch) section(state uint32, group int64) *keyed.Section {
	if n := len(b.sections); n > 0 && b.sections[n-1].StateID == state && b.sections[n-1].KeyGroup == group {
		return &b.sections[n-1]
	}
	b.sections = append(b.sections, keyed.Section{StateID: state, KeyGroup: group})
	return &b.sections[len(b.sections)-1]
}

func (b *batch) op(state uint32, group int64, op keyed.Op, key, operand string) *batch {
	s := b.section(state, group)
	s.Ops = append(s.Ops, op)
	s.KeyLengths, s.Keys = append(s.KeyLengths, uint32(len(key))), append(s.Keys, key...)
	s.ValueLengths, s.Values = append(s.ValueLengths, uint32(len(operand))), append(s.Values, operand...)
	return b
}

func (b *batch) put(state uint32, key, value string) *batch {
	return b.op(state, keyed.ByHash, keyed.OpPut, key, value)
}

func (b *batch) remove(state uint32, key string) *batch {
	return b.op(state, keyed.ByHash, keyed.OpDelete, key, "")
}

// apply applies a batch to a state and to what it must hold.
func apply(t T, st backend.State, o *oracle, b *batch) {
	t.Helper()
	if err := st.Apply(b.sections, now); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	o.apply(b.sections)
}

type row struct {
	found bool
	value string
}

// get looks keys up, in one Get.
func get(t T, st backend.State, state uint32, group int64, keys []string) []row {
	t.Helper()
	var lengths []uint32
	var packed []byte
	for _, k := range keys {
		lengths, packed = append(lengths, uint32(len(k))), append(packed, k...)
	}
	var vals keyed.Values
	if err := st.Get(state, group, lengths, packed, &vals, now); err != nil {
		t.Fatalf("Get of %d keys of state %d: %v", len(keys), state, err)
	}
	out := rows(&vals)
	if len(out) != len(keys) {
		t.Fatalf("Get of %d keys answers %d", len(keys), len(out))
	}
	return out
}

func rows(vals *keyed.Values) []row {
	var out []row
	rest := vals.Values
	for i, f := range vals.Found {
		n := vals.ValueLengths[i]
		out = append(out, row{f == 1, string(rest[:n])})
		rest = rest[n:]
	}
	return out
}

// scanAll reads a whole state in pages.
func scanAll(t T, st backend.State, state uint32, limit, maxBytes int) []backend.Entry {
	t.Helper()
	var out []backend.Entry
	var at keyed.Cursor
	for {
		page, next, done, err := st.Scan(state, at, limit, maxBytes)
		if err != nil {
			t.Fatalf("Scan of state %d: %v", state, err)
		}
		got := pageEntries(state, page)
		if len(got) > limit || len(got) == 0 && !done {
			t.Fatalf("Scan of state %d: a page of %d entries, limit %d, done %v", state, len(got), limit, done)
		}
		out = append(out, got...)
		if done {
			return out
		}
		at = next
	}
}

func pageEntries(state uint32, p keyed.Page) []backend.Entry {
	var out []backend.Entry
	keys, values := p.Keys, p.Values
	for i, g := range p.KeyGroups {
		k, v := p.KeyLengths[i], p.ValueLengths[i]
		out = append(out, backend.Entry{StateID: state, KeyGroup: g, Key: keys[:k:k], Value: values[:v:v]})
		keys, values = keys[k:], values[v:]
	}
	return out
}

func open(t T, n *node, space keyed.SpaceConfig) backend.State {
	t.Helper()
	st, err := n.b.Open(t.Context(), backend.Spec{Name: "check-1", Space: space})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return st
}

func closeState(t T, st backend.State) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Errorf("State.Close: %v", err)
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func fsWalk(dir string, f func(path string)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			f(path)
		}
		return err
	})
}
