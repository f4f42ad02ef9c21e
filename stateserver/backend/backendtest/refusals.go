package backendtest

import (
	"errors"
	"strings"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// refusal is a batch that must be refused, behind a good one.
type refusal struct {
	name  string
	space func() keyed.SpaceConfig
	bad   keyed.Section
	want  error
}

func one(state uint32, group int64, op keyed.Op, key, value string) keyed.Section {
	return (&batch{}).op(state, group, op, key, value).sections[0]
}

func refusals() []refusal {
	short := one(stateBytes, keyed.ByHash, keyed.OpPut, "k", "v")
	short.KeyLengths = nil
	wrong := one(stateBytes, keyed.ByHash, keyed.OpPut, "k", "v")
	wrong.ValueLengths = []uint32{2}
	half := func() keyed.SpaceConfig {
		s := space()
		s.End = 8
		return s
	}
	return []refusal{
		{"an unknown state", space, one(99, keyed.ByHash, keyed.OpPut, "k", "v"), keyed.ErrUnknownState},
		{"columns of different lengths", space, short, keyed.ErrMalformed},
		{"lengths that do not add up", space, wrong, keyed.ErrMalformed},
		{"an unknown op", space, one(stateBytes, keyed.ByHash, 250, "k", "v"), keyed.ErrMalformed},
		{"a DELETE with a value", space, one(stateBytes, keyed.ByHash, keyed.OpDelete, "k", "v"), keyed.ErrMalformed},
		{"a key group that is named", space, one(stateBytes, 3, keyed.OpPut, "k", "v"), keyed.ErrMalformed},
		{"no key group where one must be named", byPartition, one(stateBytes, keyed.ByHash, keyed.OpPut, "k", "v"), keyed.ErrMalformed},
		{"a foreign key group", byPartition, one(stateBytes, 7, keyed.OpPut, "k", "v"), keyed.ErrMalformed},
		{"a key of a foreign key group", half, one(stateBytes, keyed.ByHash, keyed.OpPut, keyIn(8, 16), "v"), keyed.ErrMalformed},
		{"ADD on bytes", space, one(stateBytes, keyed.ByHash, keyed.OpAdd, "k", number(1)), keyed.ErrTypeMismatch},
		{"a number of 7 bytes", space, one(stateInt64, keyed.ByHash, keyed.OpPut, "k", "1234567"), keyed.ErrTypeMismatch},
		{"a key above the limit", space, one(stateBytes, keyed.ByHash, keyed.OpPut, strings.Repeat("k", keyed.DefaultMaxKeyBytes+1), "v"), keyed.ErrKeyTooLarge},
		{"a value above the limit", space, one(stateBytes, keyed.ByHash, keyed.OpPut, "k", strings.Repeat("v", keyed.DefaultMaxValueBytes+1)), keyed.ErrValueTooLarge},
	}
}

// keyIn finds a key of the key groups [from, to) of 16.
func keyIn(from, to uint32) string {
	for c := byte('a'); ; c++ {
		if g := keyed.KeyGroup([]byte{c}, 16); g >= from && g < to {
			return string(c)
		}
	}
}

// checkRefusals: a batch that is refused is refused with the error of the memory
// backend, and nothing of it happens, whatever stands before.
func checkRefusals(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, c := range refusals() {
		sp := c.space()
		group := groupFor(sp)
		o, st := newOracle(sp), open(t, n, sp)
		mine := keyIn(0, 8)
		apply(t, st, o, (&batch{}).op(stateInt64, group, keyed.OpPut, mine, number(1)))
		b := (&batch{}).op(stateInt64, group, keyed.OpAdd, mine, number(1))
		b.op(stateInt64, group, keyed.OpDelete, mine, "")
		if err := st.Apply(append(b.sections, c.bad), now); !errors.Is(err, c.want) {
			t.Errorf("%s: Apply says %v, want %v", c.name, err, c.want)
		}
		o.expect(t, st, c.name+" was refused")
		closeState(t, st)
	}
	st := open(t, n, space())
	var vals keyed.Values
	if err := st.Get(99, keyed.ByHash, nil, nil, &vals, now); !errors.Is(err, keyed.ErrUnknownState) {
		t.Errorf("Get of an unknown state: %v", err)
	}
	if err := st.Get(stateBytes, 1, []uint32{1}, []byte("k"), &vals, now); !errors.Is(err, keyed.ErrMalformed) {
		t.Errorf("Get with a key group that must not be named: %v", err)
	}
	if _, _, _, err := st.Scan(99, keyed.Cursor{}, 1, 1); !errors.Is(err, keyed.ErrUnknownState) {
		t.Errorf("Scan of an unknown state: %v", err)
	}
	if _, _, err := st.Bytes(99); !errors.Is(err, keyed.ErrUnknownState) {
		t.Errorf("Bytes of an unknown state: %v", err)
	}
	closeState(t, st)
}

// checkStateLimit: where a state has a limit, a batch that would end above it is
// taken back as a whole; one that only passes it is taken.
func checkStateLimit(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	sp := space()
	sp.States = []keyed.StateConfig{{ID: stateBytes, MaxBytes: 100}, {ID: stateOther}}
	o, st := newOracle(sp), open(t, n, sp)
	apply(t, st, o, (&batch{}).put(stateBytes, "a", strings.Repeat("x", 59)).put(stateOther, "o", strings.Repeat("x", 500)))
	b := (&batch{}).put(stateOther, "a", "new").put(stateBytes, "a", "short").remove(stateBytes, "a").put(stateBytes, "b", strings.Repeat("y", 100))
	err := st.Apply(b.sections, now)
	var large *keyed.StateTooLargeError
	if !errors.As(err, &large) || large.StateID != stateBytes || large.Limit != 100 || large.Bytes != 101 {
		t.Errorf("a batch that ends with 101 of 100 bytes: %v", err)
	}
	o.expect(t, st, "a batch was too large")
	apply(t, st, o, (&batch{}).put(stateBytes, "b", strings.Repeat("y", 90)).remove(stateBytes, "a"))
	o.expect(t, st, "a batch passed the limit and ended below")
	closeState(t, st)
}
