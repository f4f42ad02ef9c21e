package keyed

import (
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// cell is the oracle's stored value: what the encoding says, in Go.
type cell struct {
	found bool
	value timed            // KindValue
	list  []timed          // KindList
	m     map[string]timed // KindMap
}

type timed struct {
	at    int64
	value string
}

// operand is the oracle's operand.
type operand struct {
	op      Op
	value   string
	list    []string
	entries map[string]string
	keys    []string
}

func (o operand) encode(k Kind) (b []byte) {
	switch {
	case o.op == OpDelete:
	case o.op == OpMapDelete:
		for _, key := range slices.Sorted(slices.Values(o.keys)) {
			b = statevalue.AppendKey(b, []byte(key))
		}
	case k == KindMap:
		for _, key := range slices.Sorted(maps.Keys(o.entries)) {
			b = statevalue.AppendEntry(b, []byte(key), []byte(o.entries[key]))
		}
	case k == KindList:
		for _, e := range o.list {
			b = statevalue.AppendElement(b, []byte(e))
		}
	default:
		b = []byte(o.value)
	}
	return b
}

// apply is the oracle of Combine.
func (c cell) apply(cfg *StateConfig, o operand, now int64) cell {
	dead := func(t timed) bool { return cfg.TTLMs > 0 && t.at+cfg.TTLMs <= now }
	at := int64(0)
	if cfg.TTLMs > 0 {
		at = now
	}
	next := cell{m: map[string]timed{}}
	switch {
	case o.op == OpDelete:
		return next
	case cfg.Kind == KindValue:
		next.found, next.value = true, timed{at, o.value}
		if o.op != OpPut && c.found && !dead(c.value) {
			state := map[string]string{"": c.value.value}
			modelOp(state, o.op, cfg.Type == TypeFloat64, "", o.value)
			next.value.value = state[""]
		}
		return next
	case cfg.Kind == KindList:
		if o.op == OpAppend {
			next.list = slices.Clone(c.list)
			if len(c.list) > 0 && dead(c.list[0]) {
				next.list = slices.DeleteFunc(next.list, dead)
			}
		}
		for _, e := range o.list {
			next.list = append(next.list, timed{at, e})
		}
	default:
		if o.op != OpPut {
			maps.Copy(next.m, c.m)
			maps.DeleteFunc(next.m, func(_ string, t timed) bool { return dead(t) })
		}
		for k, v := range o.entries {
			next.m[k] = timed{at, v}
		}
		for _, k := range o.keys {
			delete(next.m, k)
		}
	}
	next.found = len(next.list)+len(next.m) > 0
	return next
}

// live is the oracle of Live.
func (c cell) live(cfg *StateConfig, now int64) cell {
	dead := func(t timed) bool { return cfg.TTLMs > 0 && t.at+cfg.TTLMs <= now }
	next := cell{found: c.found, value: c.value, m: map[string]timed{}}
	switch cfg.Kind {
	case KindValue:
		if dead(c.value) {
			return cell{m: map[string]timed{}}
		}
		return next
	case KindList:
		next.list = slices.DeleteFunc(slices.Clone(c.list), dead)
	default:
		maps.Copy(next.m, c.m)
		maps.DeleteFunc(next.m, func(_ string, t timed) bool { return dead(t) })
	}
	next.found = len(next.list)+len(next.m) > 0
	return next
}

// encode is the stored value of a cell.
func (c cell) encode(cfg *StateConfig) (b []byte) {
	ttl := cfg.TTLMs > 0
	add := func(t timed, f func(dst, v []byte) []byte) {
		if ttl {
			b = statevalue.AppendTime(b, t.at)
		}
		b = f(b, []byte(t.value))
	}
	switch cfg.Kind {
	case KindValue:
		add(c.value, func(dst, v []byte) []byte { return append(dst, v...) })
	case KindList:
		for _, t := range c.list {
			add(t, statevalue.AppendElement)
		}
	default:
		for _, k := range slices.Sorted(maps.Keys(c.m)) {
			add(c.m[k], func(dst, v []byte) []byte { return statevalue.AppendEntry(dst, []byte(k), v) })
		}
	}
	return b
}

// stateKinds are the configurations that tests run over.
func stateKinds() (out []StateConfig) {
	for _, ttl := range []int64{0, 10} {
		for _, kind := range []Kind{KindValue, KindList, KindMap} {
			for _, typ := range []Type{TypeOther, TypeInt64, TypeFloat64} {
				out = append(out, StateConfig{ID: uint32(len(out) + 1), Kind: kind, Type: typ, TTLMs: ttl})
			}
		}
	}
	return out
}

func opsOfKind(c *StateConfig) []Op {
	var ops []Op
	for op := OpPut; op <= OpMapDelete; op++ {
		if op == OpDelete || c.rules().Allows(op) {
			ops = append(ops, op)
		}
	}
	return ops
}

func drawOperand(t *rapid.T, cfg *StateConfig) operand {
	value := func() string {
		switch cfg.Type {
		case TypeInt64:
			return i64(int64(rapid.IntRange(-3, 3).Draw(t, "int")))
		case TypeFloat64:
			return f64(float64(rapid.IntRange(-3, 3).Draw(t, "float")) / 8)
		}
		return rapid.SampledFrom([]string{"", "x", "yy", "a longer value"}).Draw(t, "bytes")
	}
	o := operand{op: rapid.SampledFrom(opsOfKind(cfg)).Draw(t, "op"), entries: map[string]string{}}
	n := rapid.IntRange(0, 3).Draw(t, "n")
	switch {
	case o.op == OpDelete:
	case o.op == OpMapDelete:
		for range n {
			o.keys = append(o.keys, rapid.SampledFrom([]string{"", "a", "ab", "b"}).Draw(t, "key"))
		}
		slices.Sort(o.keys)
		o.keys = slices.Compact(o.keys)
	case cfg.Kind == KindMap:
		for range n {
			o.entries[rapid.SampledFrom([]string{"", "a", "ab", "b"}).Draw(t, "key")] = value()
		}
	case cfg.Kind == KindList:
		for range n {
			o.list = append(o.list, value())
		}
	default:
		o.value = value()
	}
	return o
}

// TestCombine_Model runs random ops on one key of each kind, with a clock that
// sometimes goes back, against Go slices and maps.
func TestCombine_Model(t *testing.T) {
	for _, cfg := range stateKinds() {
		rapid.Check(t, func(t *rapid.T) {
			c := cell{m: map[string]timed{}}
			var stored []byte
			now := int64(100)
			for range rapid.IntRange(1, 20).Draw(t, "ops") {
				now += int64(rapid.IntRange(-2, 8).Draw(t, "ms"))
				o := drawOperand(t, &cfg)
				b := o.encode(cfg.Kind)
				if err := cfg.CheckOperand(o.op, b); err != nil {
					t.Fatalf("operand %+v: %v", o, err)
				}
				prefix := []byte("dst")
				got, kept, err := cfg.Combine(prefix, o.op, stored, c.found, b, now)
				c = c.apply(&cfg, o, now)
				if err != nil || kept != c.found || string(got[:3]) != "dst" {
					t.Fatalf("%+v: kept %v, want %v, %v", o, kept, c.found, err)
				}
				if !kept {
					stored = nil
					continue
				}
				stored = slices.Clone(got[3:])
				if want := c.encode(&cfg); string(stored) != string(want) {
					t.Fatalf("%+v: %x, want %x", o, stored, want)
				}
				if err := cfg.CheckStored(stored); err != nil {
					t.Fatalf("stored: %v", err)
				}
				look := now + int64(rapid.IntRange(0, 12).Draw(t, "later"))
				live, found := cfg.Live(nil, stored, look)
				if want := c.live(&cfg, look); found != want.found || found && string(live) != string(want.encode(&cfg)) {
					t.Fatalf("live at %d: %x, %v, want %x, %v", look, live, found, want.encode(&cfg), want.found)
				}
			}
		})
	}
}

// TestFold_Model: a folded pair does what the two do, one after the other.
func TestFold_Model(t *testing.T) {
	for _, cfg := range stateKinds() {
		rapid.Check(t, func(t *rapid.T) {
			old, found := []byte(nil), false
			for range rapid.IntRange(0, 3).Draw(t, "before") {
				o := drawOperand(t, &cfg)
				old, found, _ = cfg.Combine(nil, o.op, old, found, o.encode(cfg.Kind), 100)
			}
			a, b := drawOperand(t, &cfg), drawOperand(t, &cfg)
			first, second := a.encode(cfg.Kind), b.encode(cfg.Kind)
			op, both, ok := cfg.Fold(nil, a.op, first, b.op, second)
			if !ok {
				return
			}
			if err := cfg.CheckOperand(op, both); err != nil {
				t.Fatalf("%+v and %+v make a bad operand: %v", a, b, err)
			}
			mid, midFound, _ := cfg.Combine(nil, a.op, old, found, first, 105)
			want, wantFound, _ := cfg.Combine(nil, b.op, mid, midFound, second, 106)
			got, gotFound, err := cfg.Combine(nil, op, old, found, both, 106)
			if err != nil || gotFound != wantFound || gotFound && string(got) != string(want) {
				t.Fatalf("%+v then %+v on %x: %x %v, folded into op %d %x: %x %v %v", a, b, old, want, wantFound, op, both, got, gotFound, err)
			}
		})
	}
}

// TestFold_What: which pairs fold.
func TestFold_What(t *testing.T) {
	for _, cfg := range stateKinds() {
		for _, first := range opsOfKind(&cfg) {
			for _, second := range opsOfKind(&cfg) {
				replaces := second == OpPut || second == OpDelete
				known := first == OpPut || first == OpDelete
				same := first == second && (first != OpAdd || cfg.Type == TypeInt64)
				want := replaces || cfg.TTLMs == 0 && (known || same)
				arg := func(op Op) []byte {
					if cfg.Kind == KindValue && cfg.Type.Numeric() && op != OpDelete {
						return []byte(i64(1))
					}
					return nil
				}
				if _, _, ok := cfg.Fold(nil, first, arg(first), second, arg(second)); ok != want {
					t.Errorf("state %+v: ops %d and %d fold: %v", cfg, first, second, ok)
				}
			}
		}
	}
}

func TestCheckOperand_Refuses(t *testing.T) {
	list := func(elements ...string) (b []byte) {
		for _, e := range elements {
			b = statevalue.AppendElement(b, []byte(e))
		}
		return b
	}
	entries := func(keys ...string) (b []byte) {
		for _, k := range keys {
			b = statevalue.AppendEntry(b, []byte(k), []byte("v"))
		}
		return b
	}
	value, ints := StateConfig{}, StateConfig{Type: TypeInt64}
	lists, maps := StateConfig{Kind: KindList}, StateConfig{Kind: KindMap}
	intLists, intMaps := StateConfig{Kind: KindList, Type: TypeInt64}, StateConfig{Kind: KindMap, Type: TypeInt64}
	for name, c := range map[string]struct {
		cfg     StateConfig
		op      Op
		operand []byte
		want    error
	}{
		"APPEND on a value":          {value, OpAppend, list("a"), ErrTypeMismatch},
		"APPEND on a number":         {ints, OpAppend, list("a"), ErrTypeMismatch},
		"APPEND on a map":            {maps, OpAppend, list("a"), ErrTypeMismatch},
		"MAP_PUT on a value":         {value, OpMapPut, entries("a"), ErrTypeMismatch},
		"MAP_PUT on a list":          {lists, OpMapPut, entries("a"), ErrTypeMismatch},
		"MAP_DELETE on a list":       {lists, OpMapDelete, list("a"), ErrTypeMismatch},
		"ADD on a list of numbers":   {intLists, OpAdd, []byte(i64(1)), ErrTypeMismatch},
		"MIN on a map of numbers":    {intMaps, OpMin, []byte(i64(1)), ErrTypeMismatch},
		"ADD on bytes":               {value, OpAdd, []byte(i64(1)), ErrTypeMismatch},
		"short number in a list":     {intLists, OpAppend, list(i64(1), "1234567"), ErrTypeMismatch},
		"short number in a map":      {intMaps, OpMapPut, entries("a"), ErrTypeMismatch},
		"list cut in a length":       {lists, OpPut, []byte{1, 0, 0}, ErrMalformed},
		"list cut in an element":     {lists, OpAppend, list("abc")[:6], ErrMalformed},
		"huge length":                {lists, OpAppend, []byte{255, 255, 255, 255}, ErrMalformed},
		"map cut in a value":         {maps, OpPut, entries("a")[:9], ErrMalformed},
		"map without a value":        {maps, OpMapPut, entries("a")[:5], ErrMalformed},
		"map out of order":           {maps, OpMapPut, entries("b", "a"), ErrMalformed},
		"map with a key twice":       {maps, OpPut, entries("a", "a"), ErrMalformed},
		"keys out of order":          {maps, OpMapDelete, list("b", "a"), ErrMalformed},
		"keys twice":                 {maps, OpMapDelete, list("", ""), ErrMalformed},
		"keys cut":                   {maps, OpMapDelete, list("ab")[:5], ErrMalformed},
		"DELETE with a value":        {lists, OpDelete, list("a"), ErrMalformed},
		"op 0":                       {value, 0, nil, ErrMalformed},
		"op 9":                       {value, 9, nil, ErrMalformed},
		"an empty list is none":      {lists, OpPut, nil, nil},
		"empty elements and keys":    {maps, OpMapPut, entries(""), nil},
		"keys by unsigned bytes":     {maps, OpMapDelete, list("\x7f", "\x80"), nil},
		"a prefix comes first":       {maps, OpMapPut, entries("a", "ab", "b"), nil},
		"DELETE of a map":            {maps, OpDelete, nil, nil},
		"numbers in a list":          {intLists, OpAppend, list(i64(1), i64(2)), nil},
		"a list is no map of itself": {maps, OpMapPut, list("a", "b", "a", "c"), ErrMalformed},
	} {
		if err := c.cfg.CheckOperand(c.op, c.operand); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestCheckStored_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    StateConfig
		stored []byte
	}{
		"empty list":           {StateConfig{Kind: KindList}, nil},
		"empty map":            {StateConfig{Kind: KindMap, TTLMs: 1}, nil},
		"value without a time": {StateConfig{TTLMs: 1}, []byte("1234567")},
		"short number":         {StateConfig{Type: TypeInt64}, []byte("1234567")},
		"number and no time":   {StateConfig{Type: TypeInt64, TTLMs: 1}, []byte(i64(1))},
		"list without times":   {StateConfig{Kind: KindList, TTLMs: 1}, statevalue.AppendElement(nil, []byte("abc"))},
		"map out of order":     {StateConfig{Kind: KindMap}, statevalue.AppendEntry(statevalue.AppendEntry(nil, []byte("b"), nil), []byte("a"), nil)},
	} {
		if err := c.cfg.CheckStored(c.stored); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLive_Edges: a time so large that adding the TTL overflows never comes.
func TestLive_Edges(t *testing.T) {
	cfg := StateConfig{TTLMs: MaxTTLMs}
	for at, want := range map[int64]bool{0: false, math.MinInt64: false, math.MaxInt64: true, math.MaxInt64 - MaxTTLMs: false, math.MaxInt64 - MaxTTLMs + 1: true} {
		if _, found := cfg.Live(nil, statevalue.AppendTime(nil, at), math.MaxInt64); found != want {
			t.Errorf("at %d: found %v", at, found)
		}
	}
	cfg = StateConfig{TTLMs: 10, ReturnExpired: true}
	old := statevalue.AppendTime(nil, 5)
	if v, found := cfg.Visible(nil, old, 15); !found || string(v) != string(old) {
		t.Error("ReturnExpired hides what is over")
	}
	if _, found := cfg.Live(nil, old, 15); found {
		t.Error("it is over at 15")
	}
	if _, found := cfg.Live(nil, old, 14); !found {
		t.Error("it is not over at 14")
	}
}

// FuzzCombine: no bytes make the functions panic, and what they accept stays
// well-formed.
func FuzzCombine(f *testing.F) {
	element := statevalue.AppendTimedElement(nil, 5, []byte("12345678"))
	entry := statevalue.AppendTimedEntry(nil, 5, []byte("k"), []byte("12345678"))
	f.Add(byte(1), byte(0), int64(10), OpAppend, element, element[8:], int64(20))
	f.Add(byte(2), byte(1), int64(10), OpMapPut, entry, entry[8:], int64(12))
	f.Add(byte(2), byte(0), int64(0), OpMapDelete, entry[8:], []byte{1, 0, 0, 0, 'k'}, int64(12))
	f.Add(byte(0), byte(2), int64(10), OpMax, append([]byte(i64(3)), f64(1)...), []byte(f64(2)), int64(5))
	f.Fuzz(func(t *testing.T, kind, typ byte, ttl int64, op Op, old, operand []byte, now int64) {
		cfg := StateConfig{Kind: Kind(kind % 3), Type: Type(typ % 3), TTLMs: ttl & (1<<30 - 1)}
		stored := cfg.CheckStored(old) == nil
		good := cfg.CheckOperand(op, operand) == nil
		got, kept, err := cfg.Combine(nil, op, old, true, operand, now)
		if stored && good && err != nil {
			t.Fatalf("good input: %v", err)
		}
		if stored && good && kept {
			if err := cfg.CheckStored(got); err != nil {
				t.Fatalf("the result is %v", err)
			}
		}
		live, found := cfg.Live(nil, old, now)
		if stored && found {
			if err := cfg.CheckStored(live); err != nil {
				t.Fatalf("the live part is %v", err)
			}
		}
		if both, folded, ok := cfg.Fold(nil, op, operand, op, operand); ok && good {
			if err := cfg.CheckOperand(both, folded); err != nil {
				t.Fatalf("the folded operand is %v", err)
			}
		}
		_, _, _ = cfg.Fold(nil, op, operand, OpPut, old)
	})
}
