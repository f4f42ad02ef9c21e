package keyed

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestExpire_IsCleanedUp: flushes elsewhere remove what is over in the end, elements
// of lists and entries of maps one by one, and copy no table without a reason.
func TestExpire_IsCleanedUp(t *testing.T) {
	s := newStore(t, testConfig())
	old := []Section{*section(stValueTTL), *section(stListTTL), *section(stMapTTL)}
	for i := range 3000 {
		key := fmt.Sprint(i)
		old[0].put(key, "v")
		old[1].op(OpAppend, key, elementsOf(f64(1)))
		old[2].op(OpMapPut, key, entriesOf("old", "1"))
	}
	mustDo(t, s.Apply(1, old, 1000))
	mustDo(t, s.Apply(1, []Section{*section(stListTTL).op(OpAppend, "7", elementsOf(f64(2))), *section(stMapTTL).op(OpMapPut, "7", entriesOf("new", "2"))}, 1050))
	mustDo(t, s.Freeze(1, 1))
	for i := range 3000 {
		mustDo(t, s.Apply(1, []Section{*section(stInt).op(OpAdd, "n", i64(1))}, 1100))
		if _, a, _ := s.Bytes(1, stValueTTL); a == 0 && i > 10 {
			break
		}
	}
	for range 1000 {
		mustDo(t, s.Apply(1, []Section{*section(stInt).op(OpAdd, "n", i64(1))}, 1100))
	}
	for state, want := range map[uint32]int64{stValueTTL: 0, stListTTL: 1, stMapTTL: 1} {
		if _, n, err := s.Bytes(1, state); n != want || err != nil {
			t.Errorf("state %d has %d entries, want %d, %v", state, n, want, err)
		}
	}
	if v, _ := get(t, s, 0, stMapTTL, "7"); len(v) != len(entriesOf("new", "2"))+8 {
		t.Errorf("the map is %q", v)
	}
	if got := len(contents(t, s, 1, 1, stValueTTL, 100)); got != 3000 {
		t.Errorf("the frozen version has %d entries", got)
	}
	before := s.spaces[1].live[0].groups
	v := s.Capture()
	for range 100 {
		mustDo(t, s.Apply(1, []Section{*section(stInt).op(OpDelete, "absent", "")}, 1101))
	}
	for i, tab := range s.spaces[1].live[0].groups {
		if tab != before[i] {
			t.Error("cleaning copied a table with nothing to remove")
		}
	}
	v.Release()
}

// TestExpire_MakesRoom: what is over does not make a state too large, and what is
// not over does.
func TestExpire_MakesRoom(t *testing.T) {
	cfg := testConfig()
	cfg.States[5].MaxBytes = 100
	s := newStore(t, cfg)
	put := func(key string, now int64) error {
		return s.Apply(1, []Section{*section(stValueTTL).put(key, strings.Repeat("v", 81))}, now)
	}
	mustDo(t, put("a", 1000))
	if err := put("b", 1099); !errors.Is(err, ErrStateTooLarge) {
		t.Fatal(err)
	}
	if _, ok := get(t, s, 0, stValueTTL, "a"); !ok {
		t.Fatal("a refused flush removed what is not over")
	}
	mustDo(t, put("b", 1100))
}

func TestGet_LeavesOutWhatIsOver(t *testing.T) {
	s := newStore(t, testConfig())
	for i, now := range []int64{1000, 1050} {
		mustDo(t, s.Apply(1, []Section{
			*section(stListTTL).op(OpAppend, "k", elementsOf(f64(float64(i)))),
			*section(stIntTTL).put(fmt.Sprint(i), i64(1)), *section(stValueTTL).put(fmt.Sprint(i), "v"),
		}, now))
	}
	for _, c := range []struct {
		state uint32
		key   string
		now   int64
		want  int // bytes, -1 absent
	}{
		{stListTTL, "k", 1099, 40}, {stListTTL, "k", 1100, 20}, {stListTTL, "k", 1150, -1}, {stListTTL, "k", 0, 40},
		{stValueTTL, "0", 1099, 9}, {stValueTTL, "0", 1100, -1},
		{stIntTTL, "0", 5000, 16}, // ReturnExpired
	} {
		v := Values{NowMs: c.now}
		mustDo(t, s.Get(1, 0, c.state, ByHash, []uint32{uint32(len(c.key))}, []byte(c.key), &v))
		if got := len(v.Values); v.Found[0] == 0 && c.want != -1 || v.Found[0] == 1 && got != c.want {
			t.Errorf("state %d, key %q at %d: %x, found %d", c.state, c.key, c.now, v.Values, v.Found[0])
		}
	}
}

// TestLoad_TakesStoredValues: they come out as they went in, and only well-formed.
func TestLoad_TakesStoredValues(t *testing.T) {
	from, to := newStore(t, testConfig()), newStore(t, testConfig())
	mustDo(t, from.Apply(1, []Section{
		*section(stList).op(OpAppend, "l", elementsOf("a")), *section(stMapTTL).op(OpMapPut, "m", entriesOf("k", "1")),
		*section(stIntTTL).op(OpAdd, "n", i64(3)), *section(stBytes).put("b", ""),
	}, 1000))
	for _, state := range []uint32{stList, stMapTTL, stIntTTL, stBytes} {
		sec := section(state)
		want := contents(t, from, 1, 0, state, 10)
		for k, v := range want {
			sec.put(k, v)
		}
		mustDo(t, to.Load(1, []Section{*sec}))
		if got := contents(t, to, 1, 0, state, 10); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("state %d: %q, want %q", state, got, want)
		}
	}
	for name, sec := range map[string]*Section{
		"another op": section(stInt).op(OpAdd, "n", i64(1)), "no time": section(stIntTTL).put("n", i64(1)),
		"empty list": section(stList).put("l", ""), "cut map": section(stMap).put("m", "abc"),
	} {
		if err := to.Load(1, []Section{*sec}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestApply_ManyAppendsToALargeList must not copy the list for each of them when the
// flush may be refused.
func TestApply_ManyAppendsToALargeList(t *testing.T) {
	cfg := testConfig()
	cfg.MaxValueBytes = 1 << 20
	s := newStore(t, cfg)
	apply(t, s, section(stList).put("k", elementsOf(strings.Repeat("v", 1<<20-40_000))))
	sec := section(stList)
	for range 10_000 {
		sec.op(OpAppend, "k", elementsOf("x"))
	}
	before := s.Hash()
	var large *ValueTooLargeError
	err := tryApply(s, sec)
	if !errors.As(err, &large) || large.StateID != stList || large.KeyBytes != 1 || large.Limit != 1<<20 {
		t.Fatal(err)
	}
	if n := cap(s.flush.undo.old); n > 4<<20 {
		t.Errorf("%d bytes of undo log", n)
	}
	if s.Hash() != before {
		t.Error("a refused flush changed something")
	}
	sec.Ops, sec.KeyLengths, sec.ValueLengths = sec.Ops[:7000], sec.KeyLengths[:7000], sec.ValueLengths[:7000]
	sec.Keys, sec.Values = sec.Keys[:7000], sec.Values[:5*7000]
	apply(t, s, sec)
}
