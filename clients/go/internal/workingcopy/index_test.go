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
