package backendtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// kindTTL is the TTL of the states of kindSpace that have one, in ms.
const kindTTL = 1000

// kindSpace has a state of each kind, with a TTL and without.
func kindSpace() keyed.SpaceConfig {
	return keyed.SpaceConfig{Start: 0, End: 16, NumGroups: 16, States: []keyed.StateConfig{
		{ID: 20, Kind: keyed.KindList}, {ID: 21, Kind: keyed.KindList, Type: keyed.TypeInt64, TTLMs: kindTTL},
		{ID: 22, Kind: keyed.KindMap}, {ID: 23, Kind: keyed.KindMap, TTLMs: kindTTL},
		{ID: 24, TTLMs: kindTTL}, {ID: 25, Type: keyed.TypeInt64, TTLMs: kindTTL},
		{ID: 26, Kind: keyed.KindMap, Type: keyed.TypeInt64, TTLMs: kindTTL, ReturnExpired: true},
		{ID: stateBytes}, {ID: stateInt64, Type: keyed.TypeInt64},
	}}
}

// elements, entries and mapKeys are operands.
func elements(values ...string) string {
	var b []byte
	for _, v := range values {
		b = statevalue.AppendElement(b, []byte(v))
	}
	return string(b)
}

func entries(value string, keys ...string) string {
	var b []byte
	for _, k := range keys {
		b = statevalue.AppendEntry(b, []byte(k), []byte(value))
	}
	return string(b)
}

func mapKeys(keys ...string) string {
	var b []byte
	for _, k := range keys {
		b = statevalue.AppendKey(b, []byte(k))
	}
	return string(b)
}

// randomKinds makes ops of all kinds on few keys.
func randomKinds(r *rand.Rand, space keyed.SpaceConfig, keys, ops int) *batch {
	b := &batch{}
	for range ops {
		c := space.States[r.IntN(len(space.States))]
		value := randomValue(r)
		if c.Type == keyed.TypeInt64 {
			value = randomNumber(r, c.Type)
		}
		picked := []string{"", "a", "ab", "b", "c"}
		picked = slices.DeleteFunc(picked, func(string) bool { return r.IntN(2) == 0 })
		op, operand := keyed.OpPut, value
		switch n := r.IntN(10); {
		case n == 0:
			op, operand = keyed.OpDelete, ""
		case c.Kind == keyed.KindList && n < 3:
			operand = elements(value, value)
		case c.Kind == keyed.KindList:
			op, operand = keyed.OpAppend, elements(value)
		case c.Kind == keyed.KindMap && n < 2:
			operand = entries(value, picked...)
		case c.Kind == keyed.KindMap && n < 5:
			op, operand = keyed.OpMapDelete, mapKeys(picked...)
		case c.Kind == keyed.KindMap:
			op, operand = keyed.OpMapPut, entries(value, picked...)
		case c.Type == keyed.TypeInt64 && n < 8:
			op = keyed.OpAdd
		}
		b.op(c.ID, keyed.ByHash, op, randomKey(r, keys), operand)
	}
	return b
}

// checkKinds: lists, maps and values with a TTL hold what their operations say, are
// over when they should be, and come through snapshots with their times.
func checkKinds(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for round := range uint64(2) {
		r, sp := newRand(70+round), kindSpace()
		o, st := newOracle(sp), open(t, n, sp)
		files := NewFiles()
		var base *backend.Base
		for i := range uint64(40) {
			o.now += int64(r.IntN(kindTTL / 4))
			b := randomKinds(r, sp, []int{10, 300}[round], 1+r.IntN(60))
			if err := st.Apply(b.sections, o.now); err != nil {
				t.Fatalf("Apply: %v", err)
			}
			o.apply(b.sections)
			if i%8 != 7 {
				continue
			}
			when := fmt.Sprintf("round %d, after %d batches", round, i+1)
			o.expectLive(t, st, when)
			handles := write(t, cut(t, st, i), files, base, i%16 == 15)
			again := restore(t, n, sp, files, handles)
			o.expectLive(t, again, when+", restored")
			closeState(t, again)
			base = &backend.Base{ID: i, Handles: handles}
		}
		o.now += 2 * kindTTL
		o.expectLive(t, st, "when all is over")
		closeState(t, st)
	}
}

// expectLive compares what is not over with the oracle, by Scan and by Get. What is
// over may be there or not.
func (o *oracle) expectLive(t T, st backend.State, when string) {
	t.Helper()
	for i := range o.space.States {
		c := &o.space.States[i]
		live := func(all []backend.Entry) (out []backend.Entry) {
			for _, e := range all {
				if value, found := c.Live(nil, e.Value, o.now); found {
					e.Value = value
					out = append(out, e)
				}
			}
			return out
		}
		want := live(slices.DeleteFunc(o.entries(), func(e backend.Entry) bool { return e.StateID != c.ID }))
		if d := difference(live(scanAll(t, st, c.ID, 97, 1<<16)), want); d != "" {
			t.Fatalf("%s: Scan at %d: %s", when, o.now, d)
		}
		for p, v := range o.values {
			if p.state != c.ID {
				continue
			}
			var vals keyed.Values
			if err := st.Get(c.ID, keyed.ByHash, []uint32{uint32(len(p.key))}, []byte(p.key), &vals, o.now); err != nil {
				t.Fatalf("%s: Get: %v", when, err)
			}
			want, found := c.Live(nil, []byte(v), o.now)
			got, ok := vals.Values, vals.Found[0] == 1
			if c.ReturnExpired { // then what is over may come, too
				got, ok = c.Live(nil, got, o.now)
				ok = ok && vals.Found[0] == 1
			}
			if ok != found || found && string(got) != string(want) {
				t.Fatalf("%s: Get of state %d, key %q at %d: %v %x, want %v %x", when, c.ID, p.key, o.now, ok, got, found, want)
			}
		}
	}
}

// checkKindRefusals: what does not fit a list or a map is refused, and nothing of its
// batch happens; a list or map is bounded like a value.
func checkKindRefusals(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	sp := kindSpace()
	o, st := newOracle(sp), open(t, n, sp)
	// Less than half of what a batch may have.
	large := strings.Repeat("v", keyed.DefaultMaxValueBytes*2/3)
	apply(t, st, o, (&batch{}).op(20, keyed.ByHash, keyed.OpAppend, "k", elements(large)).
		op(22, keyed.ByHash, keyed.OpMapPut, "k", entries(large, "a")).op(25, keyed.ByHash, keyed.OpAdd, "n", number(1)))
	for _, c := range []struct {
		name string
		bad  keyed.Section
		want error
	}{
		{"APPEND on a map", one(22, keyed.ByHash, keyed.OpAppend, "k", elements("a")), keyed.ErrTypeMismatch},
		{"APPEND on a value", one(stateBytes, keyed.ByHash, keyed.OpAppend, "k", elements("a")), keyed.ErrTypeMismatch},
		{"MAP_PUT on a list", one(20, keyed.ByHash, keyed.OpMapPut, "k", entries("v", "a")), keyed.ErrTypeMismatch},
		{"ADD on a list of numbers", one(21, keyed.ByHash, keyed.OpAdd, "k", number(1)), keyed.ErrTypeMismatch},
		{"a list of numbers with an element of 3 bytes", one(21, keyed.ByHash, keyed.OpAppend, "k", elements("abc")), keyed.ErrTypeMismatch},
		{"a list that is cut off", one(20, keyed.ByHash, keyed.OpPut, "k", elements("abc")[:5]), keyed.ErrMalformed},
		{"a map with keys out of order", one(22, keyed.ByHash, keyed.OpMapPut, "k", entries("v", "b", "a")), keyed.ErrMalformed},
		{"a map with a key twice", one(22, keyed.ByHash, keyed.OpPut, "k", entries("v", "a", "a")), keyed.ErrMalformed},
		{"a list that grows too large", one(20, keyed.ByHash, keyed.OpAppend, "k", elements(large)), keyed.ErrValueTooLarge},
		{"a map that grows too large", one(22, keyed.ByHash, keyed.OpMapPut, "k", entries(large, "b")), keyed.ErrValueTooLarge},
	} {
		good := (&batch{}).put(stateBytes, "good", "x").op(25, keyed.ByHash, keyed.OpAdd, "n", number(1))
		err := st.Apply(append(good.sections, c.bad), now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: Apply says %v, want %v", c.name, err, c.want)
			return
		}
		o.expectLive(t, st, "after "+c.name)
		var vals keyed.Values
		if err := st.Get(stateBytes, keyed.ByHash, []uint32{4}, []byte("good"), &vals, now); err != nil || vals.Found[0] != 0 {
			t.Errorf("%s: what stood before it was applied, %v", c.name, err)
		}
	}
	closeState(t, st)
}
