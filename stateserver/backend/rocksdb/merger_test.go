package rocksdb

import (
	"bytes"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// record is what a tree has at one place for a key.
type record struct {
	merge bool
	value []byte
}

// mergeRun merges neighbours as a compaction does, in one of the two directions.
func mergeRun(rt *rapid.T, m *pebble.Merger, key []byte, run []record, base, backwards bool) record {
	first, others := run[len(run)-1], run[:len(run)-1]
	if backwards {
		first, others = run[0], run[1:]
	}
	vm, err := m.Merge(key, first.value)
	for i := range others {
		if err != nil {
			break
		}
		if backwards {
			err = vm.MergeNewer(others[i].value)
		} else {
			err = vm.MergeOlder(others[len(others)-1-i].value)
		}
	}
	var out []byte
	if err == nil {
		out, _, err = vm.Finish(base || !run[0].merge)
	}
	if err != nil {
		rt.Fatal(err)
	}
	return record{merge: !base && run[0].merge, value: out}
}

// TestMerger_AnyOrder: however the tree groups the operations on a key, the value
// is what they make one after the other.
func TestMerger_AnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		space := testSpace()
		st := &space.States[rapid.SampledFrom([]int{1, 2}).Draw(rt, "state")]
		m, key := newMerger(&space), appendKey(nil, st.ID, 0, []byte("k"))
		numbers := []string{f64(0.1), f64(1e17), f64(-1e17), f64(3), f64(math.NaN()), f64(math.Copysign(0, -1)), i64(-5), i64(1 << 62), "\x01\x00\x00\x00\x00\x00\xf8\xff"}

		var run []record
		var want []byte
		found := false
		for range rapid.IntRange(1, 12).Draw(rt, "ops") {
			op := rapid.SampledFrom([]keyed.Op{keyed.OpAdd, keyed.OpAdd, keyed.OpMin, keyed.OpMax}).Draw(rt, "op")
			operand := []byte(rapid.SampledFrom(numbers).Draw(rt, "operand"))
			var err error
			want, found, err = st.Combine(nil, op, want, found, operand, 0)
			if err != nil {
				rt.Fatal(err)
			}
			v := make([]byte, operandSize(st, operand))
			putOperand(v, st, op, operand, 0)
			run = append(run, record{merge: true, value: v})
		}
		if rapid.Bool().Draw(rt, "with a base") {
			// The oldest is applied to nothing: a value.
			run[0] = mergeRun(rt, m, key, run[:1], true, false)
		}
		for len(run) > 1 {
			from := rapid.IntRange(0, len(run)-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(run)).Draw(rt, "to")
			base := from == 0 && rapid.Bool().Draw(rt, "base")
			merged := mergeRun(rt, m, key, run[from:to], base, rapid.Bool().Draw(rt, "backwards"))
			run = append(run[:from:from], append([]record{merged}, run[to:]...)...)
		}
		last := mergeRun(rt, m, key, run, true, false)
		got, ok, err := stored(last.value)
		if err != nil || !ok || !bytes.Equal(got, want) {
			rt.Fatalf("%x, %v, %v, want %x", got, ok, err, want)
		}
	})
}

// FuzzMerger: garbage is an error, no panic.
func FuzzMerger(f *testing.F) {
	f.Add([]byte{tagValue, 1}, []byte{tagOps, keyed.OpAdd, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{tagOps, keyed.OpAdd | timedOp, 1}, []byte{tagAbsent})
	space := testSpace()
	m, key := newMerger(&space), appendKey(nil, stInt, 0, []byte("k"))
	f.Fuzz(func(_ *testing.T, newer, older []byte) {
		vm, err := m.Merge(key, newer)
		if err != nil {
			return
		}
		if vm.MergeOlder(older) == nil {
			_, _, _ = vm.Finish(true)
		}
	})
}
