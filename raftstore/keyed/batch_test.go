package keyed

import (
	"encoding/binary"
	"errors"
	"testing"
)

// TestMerge_IsWhatApplyDoes compares Merge with a Store, op by op.
func TestMerge_IsWhatApplyDoes(t *testing.T) {
	number := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	for _, typ := range []Type{TypeInt64, TypeFloat64} {
		s := New()
		cfg := SpaceConfig{End: 4, NumGroups: 4, States: []StateConfig{{ID: 1, Type: typ}}}
		if err := s.Create(1, cfg); err != nil {
			t.Fatal(err)
		}
		var value []byte
		exists := false
		for i, op := range []Op{OpAdd, OpAdd, OpMin, OpMax, OpPut, OpDelete, OpDelete, OpMax, OpAdd} {
			operand := number(uint64(i) << 52)
			if op == OpDelete {
				operand = nil
			}
			value, exists = Merge(typ, op, nil, value, exists, operand)
			sec := Section{StateID: 1, KeyGroup: ByHash, Ops: []byte{op}, KeyLengths: []uint32{1}, Keys: []byte("k"), ValueLengths: []uint32{uint32(len(operand))}, Values: operand}
			if err := s.Apply(1, []Section{sec}, 0); err != nil {
				t.Fatal(err)
			}
			var got Values
			if err := s.Get(1, 0, 1, ByHash, []uint32{1}, []byte("k"), &got); err != nil {
				t.Fatal(err)
			}
			if (got.Found[0] == 1) != exists || string(got.Values) != string(value) {
				t.Fatalf("type %d, step %d, op %d: Merge %x %v, Store %x %d", typ, i, op, value, exists, got.Values, got.Found[0])
			}
		}
	}
}

// TestBatch_TellsPlaces: hashes, states and key groups come in the order of the
// sections, and what Store.Apply refuses, Check refuses.
func TestBatch_TellsPlaces(t *testing.T) {
	cfg, err := SpaceConfig{Start: 2, End: 6, NumGroups: 8, CoPartitioned: true, States: []StateConfig{{ID: 9}, {ID: 3}}}.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	sections := []Section{
		{StateID: 9, KeyGroup: 5, Ops: []byte{OpPut}, KeyLengths: []uint32{1}, Keys: []byte("a"), ValueLengths: []uint32{1}, Values: []byte("v")},
		{StateID: 3, KeyGroup: 2, Ops: []byte{OpDelete}, KeyLengths: []uint32{1}, Keys: []byte("b"), ValueLengths: []uint32{0}},
	}
	if err := b.Check(&cfg, sections); err != nil {
		t.Fatal(err)
	}
	if b.StateOf(0) != 1 || b.StateOf(1) != 0 || b.GroupOf(0) != 3 || b.GroupOf(1) != 0 {
		t.Errorf("states %d %d, groups %d %d", b.StateOf(0), b.StateOf(1), b.GroupOf(0), b.GroupOf(1))
	}
	if h := b.Hashes(); len(h) != 2 || h[0] != HashKey([]byte("a")) || h[1] != HashKey([]byte("b")) {
		t.Errorf("hashes %x", h)
	}
	if b.Bound(1) < 2 {
		t.Errorf("the batch adds 2 bytes, the bound is %d", b.Bound(1))
	}
	sections[1].KeyGroup = 6
	if err := b.Check(&cfg, sections); !errors.Is(err, ErrMalformed) {
		t.Errorf("a foreign key group: %v", err)
	}
}
