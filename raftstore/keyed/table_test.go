package keyed

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// checkTable compares a table with a map and checks its own invariants.
func checkTable(t *rapid.T, tab *table, want map[string]string) {
	got, garbage, bytes := map[string]string{}, 0, int64(0)
	for off := 0; off < len(tab.arena); off += tab.entrySize(off) {
		if tab.dead(off) {
			garbage += tab.entrySize(off)
		}
	}
	tab.each(func(_ uint32, key, value []byte) bool {
		got[string(key)] = string(value)
		bytes += int64(len(key) + len(value))
		return true
	})
	if !maps.Equal(got, want) || tab.entries != len(want) || tab.bytes != bytes || tab.garbage != garbage {
		t.Fatalf("got %d entries %d bytes %d garbage %v, want %v", tab.entries, tab.bytes, tab.garbage, got, want)
	}
	used := 0
	for _, s := range tab.slots {
		if s != 0 {
			used++
		}
	}
	if used != tab.entries {
		t.Fatalf("%d slots for %d entries", used, tab.entries)
	}
	for k, v := range want {
		if got, ok := tab.get(uint32(xxhash.Sum64String(k)), []byte(k)); !ok || string(got) != v {
			t.Fatalf("%q: %q %v, want %q", k, got, ok, v)
		}
	}
}

func TestTable_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, want := newTable(1), map[string]string{}
		for range rapid.IntRange(0, 300).Draw(t, "ops") {
			key := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "key"))
			hash := uint32(xxhash.Sum64String(key))
			if rapid.Bool().Draw(t, "delete") {
				tab.remove(hash, []byte(key))
				delete(want, key)
				continue
			}
			value := bytes.Repeat([]byte{'v'}, rapid.IntRange(0, 100).Draw(t, "length"))
			tab.put(hash, []byte(key), value)
			want[key] = string(value)
		}
		checkTable(t, tab, want)
	})
}

// TestTable_ProbeRuns: few distinct hashes make long probe sequences that
// wrap around. There is too little garbage for a compaction, which would hash
// the keys itself.
func TestTable_ProbeRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, want := newTable(1), map[string]string{}
		bits := rapid.SampledFrom([]uint32{0, 3, 0xff}).Draw(t, "hash bits")
		hash := func(key string) uint32 { return uint32(xxhash.Sum64String(key))&bits + 5 }
		for range rapid.IntRange(0, 150).Draw(t, "ops") {
			key := fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "key"))
			if rapid.Bool().Draw(t, "delete") && tab.garbage < minGarbage/2 {
				tab.remove(hash(key), []byte(key))
				delete(want, key)
			} else {
				tab.put(hash(key), []byte(key), []byte{1})
				want[key] = "\x01"
			}
		}
		for i := range 41 {
			key := fmt.Sprint(i)
			got, ok := tab.get(hash(key), []byte(key))
			if value, has := want[key]; ok != has || string(got) != value {
				t.Fatalf("%q: %q %v, want %q %v", key, got, ok, value, has)
			}
		}
	})
}

// TestTable_Churn: garbage stays bounded, and memory comes back when most
// entries go.
func TestTable_Churn(t *testing.T) {
	tab := newTable(1)
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for i := range 100_000 {
		k := key(i % 1000)
		tab.put(uint32(xxhash.Sum64(k)), k, bytes.Repeat([]byte{1}, i*7%200))
		if i%3 == 0 {
			k = key(i * 31 % 1000)
			tab.remove(uint32(xxhash.Sum64(k)), k)
		}
		if tab.garbage > minGarbage && tab.garbage > len(tab.arena)/4 {
			t.Fatalf("%d bytes of garbage in %d", tab.garbage, len(tab.arena))
		}
	}
	peak := cap(tab.arena)
	for i := range 1000 {
		k := key(i)
		tab.remove(uint32(xxhash.Sum64(k)), k)
	}
	if tab.entries != 0 || tab.bytes != 0 || cap(tab.arena) > peak/4 || len(tab.slots) > 256 {
		t.Fatalf("empty table keeps %d bytes of %d and %d slots", cap(tab.arena), peak, len(tab.slots))
	}
}

// TestTable_SlackIsBounded: a value that shrank gives its room back, so that
// the arena stays a small multiple of the contents.
func TestTable_SlackIsBounded(t *testing.T) {
	tab := newTable(1)
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for _, size := range []int{1000, 900, 1, 0, 30, 31, 100} {
		for i := range 100 {
			tab.put(uint32(xxhash.Sum64(key(i))), key(i), make([]byte, size))
		}
		bound := (100*(entryHeader+6+valueRoom(size)) + minGarbage) * 4 / 3
		if len(tab.arena) > bound {
			t.Errorf("values of %d bytes: arena of %d bytes, at most %d expected", size, len(tab.arena), bound)
		}
	}
}
