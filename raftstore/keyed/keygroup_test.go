package keyed

import "testing"

// The golden values are a permanent format: they may never change.
func TestKeyGroup_Golden(t *testing.T) {
	for _, c := range []struct {
		key  string
		want uint32
	}{
		{"", 119}, // xxhash64 ef46db3751d8e999, as in the reference implementation
		{"a", 105},
		{"b", 60},
		{"hello", 19},
		{"user-1", 80},
		{"user-2", 57},
		{"\x00", 116},
		{"\x00\x00\x00\x00\x00\x00\x00\x01", 79},
		{"0123456789abcdef", 46},
		{"schlüssel", 79},
		{"a key that is longer than the thirty-two bytes of one xxhash block", 10},
	} {
		if got := KeyGroup([]byte(c.key), 128); got != c.want {
			t.Errorf("key %q: group %d, want %d", c.key, got, c.want)
		}
	}
}

func TestKeyGroup_Range(t *testing.T) {
	seen := map[uint32]bool{}
	for i := range 1000 {
		key := []byte{byte(i), byte(i >> 8)}
		for _, n := range []uint32{1, 2, 3, 7, 128, MaxNumGroups} {
			if g := KeyGroup(key, n); g >= n {
				t.Fatalf("group %d of %d", g, n)
			}
		}
		seen[KeyGroup(key, 7)] = true
	}
	if len(seen) != 7 || KeyGroup([]byte("a"), 0) != 0 {
		t.Fatalf("groups used: %v", seen)
	}
}
