package backendtest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/internal/race"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

func contains(err error, part string) bool { return strings.Contains(err.Error(), part) }

// slice yields entries of a list.
type slice struct {
	list []backend.Entry
	at   int
}

func (s *slice) Next() bool           { s.at++; return s.at <= len(s.list) }
func (s *slice) Entry() backend.Entry { return s.list[s.at-1] }
func (s *slice) Err() error           { return nil }
func (s *slice) Close() error         { return nil }

// checkRescale: entries of subtasks with other key groups, as they are read, fill
// new subtasks: each takes its own key groups, and together they have everything.
func checkRescale(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, sp := range []keyed.SpaceConfig{space(), byPartition()} {
		files := NewFiles()
		o, st := newOracle(sp), open(t, n, sp)
		r := newRand(81)
		for range 10 {
			apply(t, st, o, randomBatch(r, sp, 1000, 300))
		}
		handles := write(t, cut(t, st, 1), files, nil, false)
		closeState(t, st)
		var all []backend.Entry
		middle := (sp.Start + sp.End) / 2
		for _, groups := range [][2]uint32{{sp.Start, middle}, {middle, sp.End}} {
			part := sp
			part.Start, part.End = groups[0], groups[1]
			want := newOracle(part)
			for p, v := range o.values {
				if p.group >= part.Start && p.group < part.End {
					want.values[p] = v
				}
			}
			all = append(all, rescaled(t, n, sp, part, files, want, func(st backend.State) {
				es, err := n.b.ReadSnapshot(t.Context(), backend.Spec{Name: "read-2", Space: sp}, files, handles)
				if err != nil {
					t.Fatalf("ReadSnapshot: %v", err)
				}
				if err := st.Load(t.Context(), es); err != nil {
					t.Fatalf("Load: %v", err)
				}
				if err := es.Close(); err != nil {
					t.Errorf("Entries.Close: %v", err)
				}
			})...)
		}
		slices.SortFunc(all, compareEntries)
		rescaled(t, n, sp, sp, files, o, func(st backend.State) { // and together again, in two goes
			half := len(all) / 2
			for _, list := range [][]backend.Entry{all[:half], all[half:]} {
				if err := st.Load(t.Context(), &slice{list: list}); err != nil {
					t.Fatalf("Load: %v", err)
				}
			}
		})
	}
}

// rescaled fills a state, compares it, and returns what its snapshot has.
func rescaled(t T, n *node, from, to keyed.SpaceConfig, files *Files, want *oracle, fill func(backend.State)) []backend.Entry {
	t.Helper()
	st := open(t, n, to)
	fill(st)
	when := fmt.Sprintf("key groups [%d, %d) from [%d, %d)", to.Start, to.End, from.Start, from.End)
	want.expect(t, st, when)
	handles := write(t, cut(t, st, 5), files, nil, true)
	closeState(t, st)
	want.expectSnapshot(t, n, files, handles, when+", written")
	es, err := n.b.ReadSnapshot(t.Context(), backend.Spec{Name: "read-3", Space: to}, files, handles)
	if err != nil {
		t.Fatalf("ReadSnapshot: %v", err)
	}
	return readAll(t, es)
}

// checkReadBounded: reading a snapshot of 32 MiB takes a quarter of that at most.
func checkReadBounded(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	const entries, size = 32 << 10, 1 << 10
	files := NewFiles()
	st := open(t, n, space())
	value := strings.Repeat("v", size)
	for i := 0; i < entries; {
		b := &batch{}
		for range 64 {
			b.put(stateBytes, fmt.Sprintf("key-%08d", i), value)
			i++
		}
		if err := st.Apply(b.sections, now); err != nil {
			t.Fatalf("Apply: %v", err)
		}
	}
	handles := write(t, cut(t, st, 1), files, nil, false)
	closeState(t, st)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	st = nil
	before := heap()
	es, err := n.b.ReadSnapshot(t.Context(), backend.Spec{Name: "read-1", Space: space()}, files, handles)
	if err != nil {
		t.Fatalf("ReadSnapshot: %v", err)
	}
	limit := int64(entries * size / 4)
	if race.Enabled {
		limit *= 2 // caches that are elsewhere otherwise are on the heap then
	}
	read := 0
	for es.Next() {
		if read++; read%(entries/4) == entries/8 {
			if more := heap() - before; more > limit {
				t.Errorf("after %d of %d entries, reading takes %d bytes of memory for a snapshot of %d", read, entries, more, entries*size)
			}
		}
	}
	if err := es.Err(); err != nil || read != entries {
		t.Errorf("%d entries were read of %d: %v", read, entries, err)
	}
	if err := es.Close(); err != nil {
		t.Errorf("Entries.Close: %v", err)
	}
	runtime.KeepAlive(files) // or it would make room for what was read
}

// checkClose: a state leaves nothing in the backend's directory but what the next
// attempt can use, which does not pile up, and nothing is left after the backend;
// two states of one backend have nothing to do with each other.
func checkClose(t T, f backend.Factory) {
	n := newNode(t, f)
	files := NewFiles()
	o, handles := chainOf(t, n, files)
	a := restore(t, n, space(), files, handles)
	other, err := n.b.Open(t.Context(), backend.Spec{Name: "check-2", Space: space()})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	apply(t, other, newOracle(space()), (&batch{}).put(stateBytes, "k", "v"))
	o.expect(t, a, "beside another state")
	sn := cut(t, a, 9)
	sn.Release()
	closeState(t, a)
	if err := a.Apply((&batch{}).put(stateBytes, "k", "v").sections, now); err == nil {
		t.Errorf("Apply after Close is taken")
	}
	if got := get(t, other, stateBytes, keyed.ByHash, []string{"k"}); got[0].value != "v" {
		t.Errorf("closing a state closed another one: %v", got)
	}
	closeState(t, other)
	before := left(t, n.dir)
	for range 5 {
		closeState(t, restore(t, n, space(), files, handles))
	}
	if after := left(t, n.dir); len(after) > len(before) {
		t.Errorf("every state is closed and these files are left: %v; five attempts later: %v", before, after)
	}
	n.close()
	if files := left(t, n.dir); len(files) > 0 {
		t.Errorf("the backend is closed and these files are left: %v", files)
	}
}
