package rocksdb

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// puts applies n random changes among keys to a state and to a map.
func puts(t *testing.T, s backend.State, into map[string]string, r *rand.Rand, keys, n int) {
	t.Helper()
	for n > 0 {
		sec := section(stBytes)
		for range min(n, 1000) {
			key, value := fmt.Sprintf("key-%06d", r.IntN(keys)), fmt.Sprintf("value-%d", r.Uint64())
			sec.put(key, value)
			into[key] = value
		}
		apply(t, s, sec)
		n -= 1000
	}
}

// TestCut_NothingLater writes many memtables full right behind each cut, while it is
// still being taken: none of that may be in it.
func TestCut_NothingLater(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	r := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for n := uint64(1); n <= 6; n++ {
		puts(t, s, want, r, 20_000, 15_000)
		snap, err := s.Cut(n)
		mustDo(t, err)
		then := maps.Clone(want)
		puts(t, s, want, r, 20_000, 30_000)
		done := files.finish(t, snap, n, nil, false)
		if got := readAll(t, b, files, done.Handles)[stBytes]; !maps.Equal(got, then) {
			t.Fatalf("checkpoint %d has %d entries that are not those of the cut (%d)", n, len(got), len(then))
		}
	}
	if got := contents(t, s, stBytes); !maps.Equal(got, want) {
		t.Fatal("the state lost something")
	}
}

// TestCut_LargeBatch: a batch that is larger than a memtable is flushed at once, so
// it must wait for the cut before it.
func TestCut_LargeBatch(t *testing.T) {
	b, files := newBackend(t), newStorage()
	space := testSpace()
	space.MaxValueBytes = 4 << 20
	s := openState(t, b, "a", space)
	large := func(fill byte) *sectionOf {
		value := make([]byte, 3<<20)
		value[0] = fill
		return section(stBytes).put("large", string(value)).put("small", string([]byte{fill}))
	}
	for n := uint64(1); n <= 5; n++ {
		apply(t, s, large(byte(n)))
		snap, err := s.Cut(n)
		mustDo(t, err)
		apply(t, s, large(0xff))
		done := files.finish(t, snap, n, nil, false)
		got := readAll(t, b, files, done.Handles)[stBytes]
		if got["small"] != string([]byte{byte(n)}) || got["large"][0] != byte(n) {
			t.Fatalf("checkpoint %d has what was written after it", n)
		}
	}
}

// TestRoom_Smaller: what room believes of the memtable is never more than what
// Pebble has.
func TestRoom_Smaller(t *testing.T) {
	r := newRoom(8 << 20)
	if r.size != firstMemTable {
		t.Fatalf("begins with %d", r.size)
	}
	for r.size < 8<<20 {
		before := r.size
		for total := uint64(0); total <= before; total += 1000 {
			r.took(1000, 10)
		}
		if r.size > 2*before {
			t.Fatalf("%d became %d", before, r.size)
		}
	}
	r.sinceCut = 0
	if !r.fits(1000, 10) || r.fits(4<<20, 1) {
		t.Fatal("small batches fit into an empty memtable, one of half of it does not")
	}
}

// TestBytes_Estimate: the estimate of a large state is near what it holds.
func TestBytes_Estimate(t *testing.T) {
	s := openState(t, newBackend(t), "a", testSpace())
	sec := section(stInt)
	for i := range 50_000 {
		sec.op(keyed.OpAdd, fmt.Sprintf("key-%06d", i), i64(1))
	}
	apply(t, s, sec)
	mustDo(t, s.db.Flush())
	sec = section(stInt)
	for i := range 20_000 {
		sec.op(keyed.OpDelete, fmt.Sprintf("key-%06d", i), "")
	}
	apply(t, s, sec)
	mustDo(t, s.db.Flush())
	bytes, entries, err := s.Bytes(stInt)
	mustDo(t, err)
	if entries < 29_000 || entries > 31_000 || bytes < 17*entries || bytes > 20*entries {
		t.Fatalf("%d bytes, %d entries of 30,000 with 18 bytes", bytes, entries)
	}
	if bytes, entries, err = s.Bytes(stBytes); err != nil || bytes != 0 || entries != 0 {
		t.Fatalf("another state has %d bytes, %d entries, %v", bytes, entries, err)
	}
}
