package keyed

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// filled returns a store with a little of everything, and a limit.
func filled(t testing.TB) *Store {
	cfg := testConfig()
	cfg.States[0].MaxBytes = 1000
	s := newStore(t, cfg)
	apply(t, s, section(stBytes).put("a", "1").put("b", ""), section(stInt).op(OpAdd, "n", i64(5)))
	mustDo(t, s.Freeze(1, 1))
	apply(t, s, section(stBytes).put("a", "2").put("c", "3"), section(stFloat).put("x", f64(1.5)))
	return s
}

func TestApply_ErrorChangesNothing(t *testing.T) {
	good := func() *Section { return section(stBytes).put("a", "new").op(OpDelete, "b", "").put("z", "z") }
	edit := func(f func(*Section)) *Section { sec := good(); f(sec); return sec }
	for name, c := range map[string]struct {
		want error
		bad  *Section
	}{
		"unknown state":       {ErrUnknownState, section(99).put("a", "b")},
		"unknown op":          {ErrMalformed, section(stBytes).op(9, "a", "b")},
		"append to bytes":     {ErrTypeMismatch, section(stBytes).op(OpAppend, "a", "b")},
		"cut list":            {ErrMalformed, section(stList).op(OpAppend, "a", "b")},
		"map twice a key":     {ErrMalformed, section(stMap).op(OpMapPut, "a", entriesOf("k", "1")+entriesOf("k", "2"))},
		"large list":          {ErrValueTooLarge, section(stList).op(OpAppend, "a", elementsOf(strings.Repeat("v", 150))).op(OpAppend, "a", elementsOf(strings.Repeat("v", 150)))},
		"large map":           {ErrValueTooLarge, section(stMap).op(OpMapPut, "a", entriesOf("k", strings.Repeat("v", 150))).op(OpMapPut, "a", entriesOf("l", strings.Repeat("v", 150)))},
		"large with its time": {ErrValueTooLarge, section(stValueTTL).put("k", strings.Repeat("v", 249))},
		"op zero":             {ErrMalformed, section(stBytes).op(0, "a", "b")},
		"op 255":              {ErrMalformed, section(stInt).op(255, "a", i64(1))},
		"few key lengths":     {ErrMalformed, edit(func(s *Section) { s.KeyLengths = s.KeyLengths[1:] })},
		"many value lengths":  {ErrMalformed, edit(func(s *Section) { s.ValueLengths = append(s.ValueLengths, 0) })},
		"ops without lengths": {ErrMalformed, &Section{StateID: stBytes, KeyGroup: ByHash, Ops: []byte{1}}},
		"keys too short":      {ErrMalformed, edit(func(s *Section) { s.Keys = s.Keys[1:] })},
		"keys too long":       {ErrMalformed, edit(func(s *Section) { s.Keys = append(s.Keys, 0) })},
		"values too short":    {ErrMalformed, edit(func(s *Section) { s.Values = s.Values[1:] })},
		"values too long":     {ErrMalformed, edit(func(s *Section) { s.Values = append(s.Values, 0) })},
		"lengths overflow":    {ErrKeyTooLarge, edit(func(s *Section) { s.KeyLengths[0] = math.MaxUint32 })},
		"delete with value":   {ErrMalformed, section(stBytes).op(OpDelete, "a", "b")},
		"key group named":     {ErrMalformed, edit(func(s *Section) { s.KeyGroup = 3 })},
		"key group -2":        {ErrMalformed, edit(func(s *Section) { s.KeyGroup = -2 })},
		"add on bytes":        {ErrTypeMismatch, section(stBytes).op(OpAdd, "a", i64(1))},
		"max on bytes":        {ErrTypeMismatch, section(stBytes).op(OpMax, "a", i64(1))},
		"short number":        {ErrTypeMismatch, section(stInt).op(OpAdd, "n", "1234567")},
		"put short number":    {ErrTypeMismatch, section(stFloat).put("n", "")},
		"large key":           {ErrKeyTooLarge, section(stBytes).put(strings.Repeat("k", 65), "")},
		"large value":         {ErrValueTooLarge, section(stBytes).put("k", strings.Repeat("v", 257))},
		"large state":         {ErrStateTooLarge, manyPuts(10)},
	} {
		t.Run(name, func(t *testing.T) {
			s := filled(t)
			before := s.Hash()
			if err := tryApply(s, good(), section(stInt).op(OpAdd, "n", i64(1)), c.bad); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if s.Hash() != before {
				t.Fatal("a refused flush changed something")
			}
			apply(t, s, good(), section(stInt).op(OpAdd, "n", i64(1)))
			if v, _ := get(t, s, 0, stInt, "n"); v != i64(6) {
				t.Fatalf("n = %x", v)
			}
			if v, _ := get(t, s, 1, stBytes, "a"); v != "1" {
				t.Fatalf("version 1: a = %q", v)
			}
		})
	}
}

// manyPuts puts n values of 200 bytes.
func manyPuts(n int) *Section {
	sec := section(stBytes)
	for i := range n {
		sec.put(string(rune('A'+i)), strings.Repeat("v", 200))
	}
	return sec
}

func TestApply_UnknownSpace(t *testing.T) {
	if err := New().Apply(1, nil, 0); !errors.Is(err, ErrUnknownSpace) {
		t.Fatal(err)
	}
}

func TestApply_Empty(t *testing.T) {
	s := filled(t)
	before := s.Hash()
	apply(t, s)
	apply(t, s, section(stBytes), section(stInt))
	if s.Hash() != before {
		t.Fatal("an empty flush changed something")
	}
}

// TestApply_LimitIsExact: the last byte fits, one more does not, and only the
// end of the flush counts.
func TestApply_LimitIsExact(t *testing.T) {
	cfg := testConfig()
	cfg.States[0].MaxBytes = 100
	v := func(n int) string { return strings.Repeat("v", n) }
	s := newStore(t, cfg)
	if err := tryApply(s, section(stBytes).put("a", v(100))); !errors.Is(err, ErrStateTooLarge) {
		t.Fatal(err)
	}
	apply(t, s, section(stBytes).put("a", v(99)))
	apply(t, s, section(stBytes).put("a", v(99)).put("a", v(1)).put("a", v(99)))
	var tooLarge *StateTooLargeError
	err := tryApply(s, section(stBytes).put("a", v(1)), section(stBytes).put("a", v(100)))
	if !errors.As(err, &tooLarge) || *tooLarge != (StateTooLargeError{stBytes, 101, 100}) {
		t.Fatal(err)
	}
	apply(t, s, section(stBytes).put("b", v(200)).op(OpDelete, "b", ""))
	apply(t, s, section(stBytes).op(OpDelete, "a", "").put("c", v(99)))
	if err := tryApply(s, section(stBytes).put("", v(1))); !errors.Is(err, ErrStateTooLarge) {
		t.Fatal(err)
	}
	apply(t, s, section(stBytes).put("", ""), section(stInt).put("other", i64(1)))
	if bytes, entries, err := s.Bytes(1, stBytes); bytes != 100 || entries != 2 || err != nil {
		t.Fatal(bytes, entries, err)
	}
}

func TestApply_Numbers(t *testing.T) {
	negZero := math.Copysign(0, -1)
	for name, c := range map[string]struct {
		state         uint32
		op            Op
		old, operand  string
		want, onEmpty string
	}{
		"add":          {stInt, OpAdd, i64(2), i64(-5), i64(-3), i64(-5)},
		"add wraps":    {stInt, OpAdd, i64(math.MaxInt64), i64(1), i64(math.MinInt64), i64(1)},
		"min":          {stInt, OpMin, i64(2), i64(-5), i64(-5), i64(-5)},
		"max":          {stInt, OpMax, i64(2), i64(-5), i64(2), i64(-5)},
		"add float":    {stFloat, OpAdd, f64(0.1), f64(0.2), f64(0.30000000000000004), f64(0.2)},
		"min zeros":    {stFloat, OpMin, f64(0), f64(negZero), f64(negZero), f64(negZero)},
		"max zeros":    {stFloat, OpMax, f64(negZero), f64(0), f64(0), f64(0)},
		"inf - inf":    {stFloat, OpAdd, f64(math.Inf(1)), f64(math.Inf(-1)), "\x00\x00\x00\x00\x00\x00\xf8\x7f", f64(math.Inf(-1))},
		"max with NaN": {stFloat, OpMax, f64(1), "\x01\x00\x00\x00\x00\x00\xf8\xff", "\x00\x00\x00\x00\x00\x00\xf8\x7f", "\x01\x00\x00\x00\x00\x00\xf8\xff"},
	} {
		s := newStore(t, testConfig())
		apply(t, s, section(c.state).put("k", c.old).op(c.op, "k", c.operand).op(c.op, "absent", c.operand))
		if got, _ := get(t, s, 0, c.state, "k"); got != c.want {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
		if got, _ := get(t, s, 0, c.state, "absent"); got != c.onEmpty {
			t.Errorf("%s on an absent key: %x, want %x", name, got, c.onEmpty)
		}
	}
}

func TestApply_ForeignKeyGroup(t *testing.T) {
	cfg := testConfig()
	cfg.NumGroups, cfg.Start, cfg.End = 128, 60, 61
	s := newStore(t, cfg)
	apply(t, s, section(stBytes).put("b", "group 60"))
	if err := tryApply(s, section(stBytes).put("a", "group 105")); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
	v := Values{Found: []byte{9}}
	for n := range 3 * warmBatch { // the foreign key after n good ones
		keys := append([]byte(strings.Repeat("b", n)), 'a')
		if err := s.Get(1, 0, stBytes, ByHash, slices.Repeat([]uint32{1}, n+1), keys, &v); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if len(v.Found) != 1 || len(v.Values) != 0 || len(v.ValueLengths) != 0 {
			t.Fatalf("a refused Get left rows: %v", v)
		}
	}
}

func TestApply_CoPartitioned(t *testing.T) {
	cfg := testConfig()
	cfg.CoPartitioned, cfg.Start, cfg.End = true, 4, 8
	s := newStore(t, cfg)
	for group, want := range map[int64]error{ByHash: ErrMalformed, 3: ErrMalformed, 4: nil, 7: nil, 8: ErrMalformed, 1 << 40: ErrMalformed} {
		sec := section(stBytes).put("same key", string(rune('0'+group%10)))
		sec.KeyGroup = group
		if err := tryApply(s, sec); !errors.Is(err, want) {
			t.Errorf("group %d: %v", group, err)
		}
	}
	s = reread(t, s)
	for group, want := range map[int64]string{4: "4", 7: "7", 5: ""} {
		var v Values
		mustDo(t, s.Get(1, 0, stBytes, group, []uint32{8}, []byte("same key"), &v))
		if string(v.Values) != want {
			t.Errorf("group %d: %q", group, v.Values)
		}
	}
}

// TestApply_TableFull sets the account of a table up instead of filling it.
func TestApply_TableFull(t *testing.T) {
	cfg := testConfig()
	cfg.Start, cfg.End, cfg.NumGroups = 0, 1, 1
	s := newStore(t, cfg)
	apply(t, s, section(stBytes).put("a", "1"))
	i, err := s.spaces[1].cfg.stateIndex(stBytes)
	mustDo(t, err)
	d := &s.spaces[1].live[i]
	room := maxTableBytes - d.groups[0].logicalBytes() - 2*entryHeader - 4
	d.bytes += room
	d.groups[0].bytes += room
	before := s.Hash()
	if err := tryApply(s, section(stBytes).put("a", "2").put("b", "1").put("c", "12")); !errors.Is(err, ErrTableFull) {
		t.Fatal(err)
	}
	if s.Hash() != before {
		t.Fatal("a refused flush changed something")
	}
	apply(t, s, section(stBytes).put("a", "2").put("b", "1").put("c", "1"))
}

func TestApply_SteadyStateAllocatesNothing(t *testing.T) {
	s := newStore(t, testConfig())
	sections := []Section{*section(stBytes), *section(stInt)}
	for i := range 200 {
		key := string(rune('A' + i))
		sections[0].put(key, strings.Repeat("v", i%40))
		sections[0].put(key, strings.Repeat("v", (i+7)%40))
		sections[1].op(OpAdd, key, i64(1))
	}
	for range 10 {
		mustDo(t, s.Apply(1, sections, 0))
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.Apply(1, sections, 0) }); n != 0 {
		t.Errorf("%v allocations a flush", n)
	}
}
