package backendtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// The states of the space that most checks use. Two of them have the same type.
const (
	stateBytes  = 7
	stateInt64  = 3
	stateDouble = 12
	stateOther  = 5
)

func space() keyed.SpaceConfig {
	return keyed.SpaceConfig{Start: 0, End: 16, NumGroups: 16, States: []keyed.StateConfig{
		{ID: stateBytes}, {ID: stateInt64, Type: keyed.TypeInt64}, {ID: stateDouble, Type: keyed.TypeFloat64}, {ID: stateOther},
	}}
}

// byPartition is a space whose sections name their key group.
func byPartition() keyed.SpaceConfig {
	s := space()
	s.Start, s.End, s.NumGroups, s.CoPartitioned = 2, 7, 9, true
	return s
}

// randomBatch makes ops of all kinds on few keys, so that they meet.
func randomBatch(r *rand.Rand, space keyed.SpaceConfig, keys, ops int) *batch {
	b := &batch{}
	for range ops {
		c := space.States[r.IntN(len(space.States))]
		group := int64(keyed.ByHash)
		if space.CoPartitioned {
			group = int64(space.Start) + r.Int64N(int64(space.End-space.Start))
		}
		key := randomKey(r, keys)
		switch n := r.IntN(10); {
		case n < 2:
			b.op(c.ID, group, keyed.OpDelete, key, "")
		case c.Type == keyed.TypeOther:
			b.op(c.ID, group, keyed.OpPut, key, randomValue(r))
		default:
			op := []keyed.Op{keyed.OpPut, keyed.OpAdd, keyed.OpAdd, keyed.OpMin, keyed.OpMax}[r.IntN(5)]
			b.op(c.ID, group, op, key, randomNumber(r, c.Type))
		}
	}
	return b
}

// randomKey is one of keys, of very different lengths, with zero bytes, and among
// them the empty one and some that begin as others do.
func randomKey(r *rand.Rand, keys int) string {
	switch n := r.IntN(keys); n % 4 {
	case 0:
		return fmt.Sprintf("%.*s", n%9, "\x00\xff\x00abcdef")
	case 1:
		return fmt.Sprintf("a-long-common-beginning-of-keys-%d", n)
	default:
		return fmt.Sprintf("k%d", n)
	}
}

func randomValue(r *rand.Rand) string {
	n := r.IntN(24)
	if r.IntN(50) == 0 {
		n = r.IntN(5000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func number(v int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func randomNumber(r *rand.Rand, typ keyed.Type) string {
	if typ == keyed.TypeFloat64 {
		return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(r.IntN(1000))/8-50)))
	}
	if r.IntN(20) == 0 {
		return number(math.MaxInt64 - int64(r.IntN(3)))
	}
	return number(int64(r.IntN(1000)) - 500)
}

// checkModel: any row of batches leaves what a map has.
func checkModel(t T, f backend.Factory) { model(t, f, space(), 11) }

// checkCoPartitioned: the same where sections name their key group; one key in two
// key groups is two.
func checkCoPartitioned(t T, f backend.Factory) { model(t, f, byPartition(), 12) }

func model(t T, f backend.Factory, space keyed.SpaceConfig, seed uint64) {
	n := newNode(t, f)
	defer n.close()
	for round := range uint64(3) {
		r := newRand(seed + round)
		o, st := newOracle(space), open(t, n, space)
		keys := []int{20, 200, 2000}[round]
		for i := range 60 {
			apply(t, st, o, randomBatch(r, space, keys, 1+r.IntN(100)))
			if i%10 == 9 {
				o.expect(t, st, fmt.Sprintf("round %d, after %d batches", round, i+1))
			}
		}
		o.expectGet(t, st, stateBytes, "at the end")
		absent := get(t, st, stateBytes, groupFor(space), []string{"never set", ""})
		if absent[0].found {
			t.Errorf("a key that was never set is found")
		}
		closeState(t, st)
	}
}

func groupFor(space keyed.SpaceConfig) int64 {
	if space.CoPartitioned {
		return int64(space.Start)
	}
	return keyed.ByHash
}

// checkNamespaces: the same key in every state and, where sections name key groups,
// in each of them, is as many entries; deleting one leaves the others.
func checkNamespaces(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, space := range []keyed.SpaceConfig{space(), byPartition()} {
		o, st := newOracle(space), open(t, n, space)
		groups := []int64{keyed.ByHash}
		if space.CoPartitioned {
			groups = []int64{2, 3, 6}
		}
		b := &batch{}
		for i, c := range space.States {
			for j, g := range groups {
				b.op(c.ID, g, keyed.OpPut, "same", number(int64(10*i+j)))
			}
		}
		apply(t, st, o, b)
		o.expect(t, st, "one key everywhere")
		apply(t, st, o, (&batch{}).op(stateOther, groups[0], keyed.OpDelete, "same", ""))
		apply(t, st, o, (&batch{}).op(stateInt64, groups[0], keyed.OpAdd, "same", number(5)))
		o.expect(t, st, "one key deleted in one place and changed in another")
		closeState(t, st)
	}
}

// checkGetPages: a Get stops before the value that would pass MaxBytes, and gives
// at least one row.
func checkGetPages(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	o, st := newOracle(space()), open(t, n, space())
	b := &batch{}
	var lengths []uint32
	var keys []byte
	for i := range 100 {
		k := fmt.Sprintf("key-%03d", i)
		b.put(stateBytes, k, randomValue(newRand(uint64(i)))+"-end")
		lengths, keys = append(lengths, uint32(len(k))), append(keys, k...)
	}
	apply(t, st, o, b)
	for pages := 0; len(lengths) > 0; pages++ {
		vals := keyed.Values{MaxBytes: 40, Values: make([]byte, 0, 64)}
		if err := st.Get(stateBytes, keyed.ByHash, lengths, keys, &vals, now); err != nil {
			t.Fatalf("Get: %v", err)
		}
		got := rows(&vals)
		if len(got) == 0 || len(got) > 1 && len(vals.Values) > 40 || pages > 100 {
			t.Fatalf("page %d has %d rows, %d bytes", pages, len(got), len(vals.Values))
		}
		for i, row := range got {
			k := string(keys[:lengths[i]])
			keys = keys[lengths[i]:]
			if want := o.values[place{stateBytes, o.group(keyed.ByHash, []byte(k)), k}]; !row.found || row.value != want {
				t.Fatalf("%q: %v %x, want %x", k, row.found, row.value, want)
			}
		}
		lengths = lengths[len(got):]
	}
	closeState(t, st)
}
