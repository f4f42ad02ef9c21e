package keyed

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestScan_UnderWrites: every key that exists throughout appears exactly
// once, in order, while others come and go between the pages.
func TestScan_UnderWrites(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore(t, testConfig())
		stable, coming := section(stBytes), section(stBytes)
		for i := range rapid.IntRange(0, 200).Draw(rt, "stable") {
			stable.put(fmt.Sprintf("s%d", i), "v")
		}
		for i := range 50 {
			coming.put(fmt.Sprintf("c%d", i), strings.Repeat("v", i))
		}
		apply(t, s, stable, coming)
		seen := map[string]int{}
		var at Cursor
		for done := false; !done; {
			limit := rapid.IntRange(1, 40).Draw(rt, "limit")
			maxBytes := rapid.IntRange(1, 200).Draw(rt, "bytes")
			page, next, end, err := s.Scan(1, 0, stBytes, at, limit, maxBytes)
			mustDo(t, err)
			if n := len(page.KeyLengths); n > limit || n > 1 && len(page.Keys)+len(page.Values) > maxBytes || n == 0 && !end {
				rt.Fatalf("page of %d entries, %d bytes", n, len(page.Keys)+len(page.Values))
			}
			keys := page.Keys
			for _, n := range page.KeyLengths {
				seen[string(keys[:n])]++
				keys = keys[n:]
			}
			at, done = next, end
			churn := section(stBytes)
			for range rapid.IntRange(0, 20).Draw(rt, "writes") {
				key := fmt.Sprintf("c%d", rapid.IntRange(0, 60).Draw(rt, "key"))
				churn.op(rapid.SampledFrom([]Op{OpPut, OpDelete}).Draw(rt, "op"), key, "")
			}
			apply(t, s, churn)
		}
		for i := range stable.KeyLengths {
			if key := fmt.Sprintf("s%d", i); seen[key] != 1 {
				rt.Fatalf("%s seen %d times", key, seen[key])
			}
		}
		for key, n := range seen {
			if n > 1 {
				rt.Fatalf("%s seen %d times", key, n)
			}
		}
	})
}

func TestScan_Bounds(t *testing.T) {
	s := newStore(t, testConfig())
	apply(t, s, section(stBytes).put("", "empty key").put("a", ""))
	for _, c := range [][2]int{{0, 1}, {1, 0}, {-1, 1}} {
		if _, _, _, err := s.Scan(1, 0, stBytes, Cursor{}, c[0], c[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", c, err)
		}
	}
	page, next, done, err := s.Scan(1, 0, stBytes, Cursor{KeyGroup: 99}, 10, 10)
	if err != nil || !done || len(page.KeyLengths) != 0 || next.KeyGroup != 99 && next.KeyGroup != 16 {
		t.Error("a cursor beyond the end", page, next, done, err)
	}
	// The empty key is after the start of its group and before every other.
	g := KeyGroup(nil, 16)
	page, _, _, _ = s.Scan(1, 0, stBytes, Cursor{KeyGroup: g, AfterKey: true}, 10, 1000)
	if strings.Contains(string(page.Values), "empty key") {
		t.Error("the cursor's key is in the page")
	}
	page, _, _, _ = s.Scan(1, 0, stBytes, Cursor{KeyGroup: g}, 1, 1)
	if string(page.Values) != "empty key" {
		t.Errorf("page %v", page)
	}
}
