package backendtest

import (
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// checkScan: pages of any size give every entry once, in the order of key group
// and key, and a page is no larger than asked for.
func checkScan(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, sp := range []keyed.SpaceConfig{space(), byPartition()} {
		r := newRand(21)
		o, st := newOracle(sp), open(t, n, sp)
		for range 10 {
			apply(t, st, o, randomBatch(r, sp, 400, 100))
		}
		var want []backend.Entry
		for _, e := range o.entries() {
			if e.StateID == stateBytes {
				want = append(want, e)
			}
		}
		for _, limit := range []int{1, 7, 10_000} {
			for _, maxBytes := range []int{1, 100, 1 << 20} {
				if d := difference(scanAll(t, st, stateBytes, limit, maxBytes), want); d != "" {
					t.Fatalf("Scan in pages of %d entries, %d bytes: %s", limit, maxBytes, d)
				}
			}
		}
		page, _, _, err := st.Scan(stateBytes, keyed.Cursor{}, 1000, 64)
		if err != nil || len(page.KeyLengths) > 1 && len(page.Keys)+len(page.Values) > 64 {
			t.Errorf("a page of at most 64 bytes has %d, %v", len(page.Keys)+len(page.Values), err)
		}
		closeState(t, st)
	}
}

// checkScanUnderWrites: a key that is there all through a sequence of pages is in it
// exactly once, whatever is written between the pages.
func checkScanUnderWrites(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	o, st := newOracle(space()), open(t, n, space())
	b := &batch{}
	for i := range 600 {
		b.put(stateBytes, fmt.Sprintf("stays-%d", i), fmt.Sprint(i))
		b.put(stateBytes, fmt.Sprintf("goes-%d", i), "x")
	}
	apply(t, st, o, b)
	seen := map[string]int{}
	var last *backend.Entry
	var at keyed.Cursor
	for i := 0; ; i++ {
		page, next, done, err := st.Scan(stateBytes, at, 5, 1<<20)
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		for _, e := range pageEntries(stateBytes, page) {
			seen[string(e.Key)]++
			if last != nil && compareEntries(*last, e) >= 0 {
				t.Fatalf("Scan: %s comes after %s", describe(e), describe(*last))
			}
			last = &e
		}
		if done {
			break
		}
		at = next
		apply(t, st, o, (&batch{}).put(stateBytes, fmt.Sprintf("comes-%d", i), "y").remove(stateBytes, fmt.Sprintf("goes-%d", i%600)).
			put(stateBytes, fmt.Sprintf("stays-%d", i*7%600), fmt.Sprintf("another, longer value of page %d", i)))
	}
	for i := range 600 {
		if k := fmt.Sprintf("stays-%d", i); seen[k] != 1 {
			t.Fatalf("%s was there all the time and is in the pages %d times", k, seen[k])
		}
	}
	closeState(t, st)
}

// readAll reads Entries to their end, checks their order, and closes them.
func readAll(t T, es backend.Entries) []backend.Entry {
	t.Helper()
	var out []backend.Entry
	for es.Next() {
		e := es.Entry()
		e.Key, e.Value = slices.Clone(e.Key), slices.Clone(e.Value)
		if n := len(out); n > 0 && compareEntries(out[n-1], e) >= 0 {
			t.Errorf("ReadSnapshot: %s comes after %s", describe(e), describe(out[n-1]))
		}
		out = append(out, e)
	}
	if err := es.Err(); err != nil {
		t.Errorf("ReadSnapshot: %v", err)
	}
	if err := es.Close(); err != nil {
		t.Errorf("Entries.Close: %v", err)
	}
	return out
}
