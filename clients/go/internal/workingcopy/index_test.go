package workingcopy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// An index is compared with a map through additions and removals, with hashes that
// collide and with keys in the entry and beside it.
func TestIndex_FindsWhatAMapFinds(t *testing.T) {
	for _, keys := range []int{1, 20, 3000} {
		r := rand.New(rand.NewPCG(uint64(keys), 1))
		x, want := newIndex(), map[string]*Entry{}
		for range 20 * keys {
			key := fmt.Sprintf("key-%d", r.IntN(keys))
			if r.IntN(4) == 0 {
				key += strings.Repeat("x", r.IntN(2*inlineKey))
			}
			hash := hashOf([]byte(key))
			got := x.find(hash, []byte(key))
			if got != want[key] {
				t.Fatalf("%q: found %v, want %v", key, got, want[key])
			}
			switch {
			case got == nil:
				want[key] = newEntry(nil, 0, []byte(key))
				x.add(hash, want[key])
			case r.IntN(2) == 0:
				x.remove(got)
				delete(want, key)
			}
			if x.used != len(want) {
				t.Fatalf("%d entries, want %d", x.used, len(want))
			}
		}
		for key, e := range want {
			if e.Key() != key || x.find(hashOf([]byte(key)), []byte(key)) != e {
				t.Fatalf("%q is not there at the end", key)
			}
		}
	}
}

// Removing from a run of slots that wraps around must leave every other key of the
// run to be found.
func TestIndex_RemovesFromARunOfCollisions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		x := newIndex()
		var all []*Entry
		for i := range minIndex * 3 / 4 {
			e := newEntry(nil, 0, fmt.Append(nil, r.Uint64(), i))
			x.add(hashOf(e.keyBytes()), e)
			all = append(all, e)
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i, e := range all {
			x.remove(e)
			for j, o := range all {
				found := x.find(hashOf(o.keyBytes()), o.keyBytes()) == o
				if found != (j > i) {
					t.Fatalf("after %d removals key %d is found: %v", i+1, j, found)
				}
			}
		}
	}
}

// Entries finds what Entry finds, and makes what is not there, in the same order.
func TestTable_EntriesAreThoseOfEntry(t *testing.T) {
	for _, coPartitioned := range []bool{false, true} {
		r := rand.New(rand.NewPCG(3, 4))
		one, many := New(Options{MaxBytes: 1 << 20, CoPartitioned: coPartitioned}), New(Options{MaxBytes: 1 << 20, CoPartitioned: coPartitioned})
		for range 20 {
			var keys []byte
			var ends []int
			var groups []uint32
			var want []string
			for range r.IntN(5 * warmKeys) {
				key := fmt.Appendf(nil, "%d", r.IntN(200))
				keys, ends = append(keys, key...), append(ends, len(keys)+len(key))
				group := uint32(0)
				if coPartitioned {
					group = uint32(r.IntN(3))
					groups = append(groups, group)
				}
				e := one.Table(1).Entry(group, key)
				want = append(want, fmt.Sprint(e.group, e.Key()))
			}
			n := 0
			many.Table(1).Entries(groups, keys, ends, func(i int, e *Entry) {
				if got := fmt.Sprint(e.group, e.Key()); i != n || got != want[i] {
					t.Fatalf("entry %d of %d is %q, want %q", i, n, got, want[i])
				}
				n++
			})
			if n != len(want) {
				t.Fatalf("%d entries, want %d", n, len(want))
			}
		}
		if one.Bytes() != many.Bytes() || len(one.wants) != len(many.wants) {
			t.Fatalf("%d bytes and %d keys that are missing, want %d and %d", many.Bytes(), len(many.wants), one.Bytes(), len(one.wants))
		}
		for i, e := range many.wants {
			if w := one.wants[i]; w.Key() != e.Key() || w.group != e.group {
				t.Fatalf("the %d-th key that is missing is %q, want %q", i, e.Key(), w.Key())
			}
		}
	}
}
