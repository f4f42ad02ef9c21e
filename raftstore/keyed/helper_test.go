package keyed

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// States of the test spaces.
const (
	stBytes uint32 = 7
	stInt   uint32 = 9
	stFloat uint32 = 3

	stList     uint32 = 20
	stMap      uint32 = 21
	stValueTTL uint32 = 22
	stListTTL  uint32 = 23
	stMapTTL   uint32 = 24
	stIntTTL   uint32 = 25
)

// testTTL is the TTL of the test states that have one, in ms.
const testTTL = 100

func testConfig() SpaceConfig {
	return SpaceConfig{End: 16, NumGroups: 16, MaxKeyBytes: 64, MaxValueBytes: 256, States: []StateConfig{
		{ID: stBytes, MaxBytes: 0}, {ID: stInt, Type: TypeInt64}, {ID: stFloat, Type: TypeFloat64},
		{ID: stList, Kind: KindList}, {ID: stMap, Kind: KindMap}, {ID: stValueTTL, TTLMs: testTTL},
		{ID: stListTTL, Kind: KindList, Type: TypeFloat64, TTLMs: testTTL}, {ID: stMapTTL, Kind: KindMap, TTLMs: testTTL},
		{ID: stIntTTL, Type: TypeInt64, TTLMs: testTTL, ReturnExpired: true},
	}}
}

// newStore returns a store with one space, id 1.
func newStore(t testing.TB, cfg SpaceConfig) *Store {
	t.Helper()
	s := New()
	mustDo(t, s.Create(1, cfg))
	return s
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func i64(v int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func f64(v float64) string {
	return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
}

// elementsOf is a list without times.
func elementsOf(values ...string) string {
	var b []byte
	for _, v := range values {
		b = statevalue.AppendElement(b, []byte(v))
	}
	return string(b)
}

// entriesOf is a map without times, of keys and values in turn.
func entriesOf(pairs ...string) string {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = statevalue.AppendEntry(b, []byte(pairs[i]), []byte(pairs[i+1]))
	}
	return string(b)
}

// section starts a section of a by-hash space.
func section(state uint32) *Section { return &Section{StateID: state, KeyGroup: ByHash} }

// op appends one operation.
func (s *Section) op(op Op, key, value string) *Section {
	s.Ops = append(s.Ops, op)
	s.KeyLengths = append(s.KeyLengths, uint32(len(key)))
	s.Keys = append(s.Keys, key...)
	s.ValueLengths = append(s.ValueLengths, uint32(len(value)))
	s.Values = append(s.Values, value...)
	return s
}

func (s *Section) put(key, value string) *Section { return s.op(OpPut, key, value) }

func apply(t testing.TB, s *Store, sections ...*Section) {
	t.Helper()
	mustDo(t, tryApply(s, sections...))
}

func tryApply(s *Store, sections ...*Section) error {
	var all []Section
	for _, sec := range sections {
		all = append(all, *sec)
	}
	return s.Apply(1, all, 0)
}

// get returns the value of one key of space 1.
func get(t testing.TB, s *Store, version uint64, state uint32, key string) (string, bool) {
	t.Helper()
	var v Values
	mustDo(t, s.Get(1, version, state, ByHash, []uint32{uint32(len(key))}, []byte(key), &v))
	return string(v.Values), v.Found[0] == 1
}

// contents reads a state through Scan.
func contents(t testing.TB, s *Store, id, version uint64, state uint32, limit int) map[string]string {
	t.Helper()
	out := map[string]string{}
	var at Cursor
	var lastGroup uint32
	var lastKey []byte
	for done := false; !done; {
		page, next, end, err := s.Scan(id, version, state, at, limit, 1<<20)
		mustDo(t, err)
		keys, values := page.Keys, page.Values
		for i, n := range page.KeyLengths {
			key := keys[:n]
			if len(out) > 0 && (page.KeyGroups[i] < lastGroup || page.KeyGroups[i] == lastGroup && bytes.Compare(key, lastKey) <= 0) {
				t.Fatalf("scan out of order: %q after %q", key, lastKey)
			}
			lastGroup, lastKey = page.KeyGroups[i], key
			out[string(key)] = string(values[:page.ValueLengths[i]])
			keys, values = keys[n:], values[page.ValueLengths[i]:]
		}
		at, done = next, end
	}
	return out
}

// written returns the snapshot of a store.
func written(t testing.TB, s *Store) []byte {
	t.Helper()
	v := s.Capture()
	defer v.Release()
	var b bytes.Buffer
	mustDo(t, v.Write(&b))
	return b.Bytes()
}

// reread returns the store that a snapshot of s makes.
func reread(t testing.TB, s *Store) *Store {
	t.Helper()
	out, err := Read(bytes.NewReader(written(t, s)))
	mustDo(t, err)
	return out
}
