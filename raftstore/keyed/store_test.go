package keyed

import (
	"errors"
	"slices"
	"testing"
)

func TestCreate_Errors(t *testing.T) {
	s := newStore(t, testConfig())
	if err := s.Create(1, testConfig()); !errors.Is(err, ErrSpaceExists) {
		t.Error(err)
	}
	for name, edit := range map[string]func(*SpaceConfig){
		"no groups":        func(c *SpaceConfig) { c.NumGroups, c.End = 0, 0 },
		"many groups":      func(c *SpaceConfig) { c.NumGroups = MaxNumGroups + 1 },
		"end beyond":       func(c *SpaceConfig) { c.End = 17 },
		"start beyond":     func(c *SpaceConfig) { c.Start, c.End = 3, 2 },
		"state twice":      func(c *SpaceConfig) { c.States = append(c.States, StateConfig{ID: stInt}) },
		"unknown type":     func(c *SpaceConfig) { c.States[0].Type = 3 },
		"negative limit":   func(c *SpaceConfig) { c.States[0].MaxBytes = -1 },
		"huge keys":        func(c *SpaceConfig) { c.MaxKeyBytes = 1 << 30 },
		"huge values":      func(c *SpaceConfig) { c.MaxValueBytes = 1 << 30 },
		"many directories": func(c *SpaceConfig) { c.NumGroups, c.End, c.States = 1<<15, 1<<15, make([]StateConfig, 33) },
	} {
		cfg := testConfig()
		edit(&cfg)
		if err := s.Create(2, cfg); !errors.Is(err, ErrMalformed) || s.Has(2) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreate_KeepsNoCallerMemory(t *testing.T) {
	cfg := testConfig()
	s := newStore(t, cfg)
	before := s.Hash()
	cfg.States[0].ID = 1234
	if s.Hash() != before {
		t.Fatal("the caller's slice is in use")
	}
}

func TestStore_UnknownIDs(t *testing.T) {
	s := newStore(t, testConfig())
	var v Values
	_, _, bytesErr := s.Bytes(2, stInt)
	_, _, _, scanErr := s.Scan(2, 0, stInt, Cursor{}, 1, 1)
	_, frozenErr := s.Frozen(2, 1)
	_, versionsErr := s.Versions(2)
	for i, err := range []error{s.Freeze(2, 1), s.Restore(2, 0), s.DropVersion(2, 1), s.DropVersionsBelow(2, 1),
		s.Get(2, 0, stInt, ByHash, nil, nil, &v), bytesErr, scanErr, frozenErr, versionsErr} {
		if !errors.Is(err, ErrUnknownSpace) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	_, _, _, scanErr = s.Scan(1, 5, stInt, Cursor{}, 1, 1)
	_, frozenErr = s.Frozen(1, 0)
	for i, err := range []error{s.Get(1, 5, stInt, ByHash, nil, nil, &v), s.Restore(1, 5), scanErr, frozenErr} {
		if !errors.Is(err, ErrUnknownVersion) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if _, _, err := s.Bytes(1, 99); !errors.Is(err, ErrUnknownState) {
		t.Error(err)
	}
	s.Drop(2)
	s.Drop(1)
	if s.Has(1) || s.Hash() != New().Hash() {
		t.Error("the dropped space is still there")
	}
}

func TestVersion_FreezeRestoreDrop(t *testing.T) {
	s := newStore(t, testConfig())
	check := func(version uint64, want string) {
		t.Helper()
		if got, ok := get(t, s, version, stBytes, "k"); got != want || ok != (want != "") {
			t.Errorf("version %d: %q, want %q", version, got, want)
		}
	}
	for v := uint64(1); v <= 3; v++ {
		apply(t, s, section(stBytes).put("k", string(rune('0'+v))))
		mustDo(t, s.Freeze(1, v*10))
	}
	apply(t, s, section(stBytes).op(OpDelete, "k", ""))
	check(0, "")
	check(20, "2")
	mustDo(t, s.Restore(1, 20))
	apply(t, s, section(stBytes).put("k", "changed"))
	check(20, "2")
	mustDo(t, s.Restore(1, 20))
	check(0, "2")
	mustDo(t, s.DropVersionsBelow(1, 30))
	check(0, "2")
	mustDo(t, s.DropVersion(1, 31)) // unknown: no error
	if got, _ := s.Versions(1); !slices.Equal(got, []uint64{30}) {
		t.Errorf("versions %v", got)
	}
	mustDo(t, s.Restore(1, 0))
	check(0, "")
	check(30, "3")
	if err := s.Freeze(1, 30); !errors.Is(err, ErrVersionExists) {
		t.Error(err)
	}
	if err := s.Freeze(1, 0); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// TestVersion_ClonesOnce: a table is copied by the first write after a
// capture, and by no later one.
func TestVersion_ClonesOnce(t *testing.T) {
	cfg := testConfig()
	cfg.NumGroups, cfg.End = 1, 1
	s := newStore(t, cfg)
	apply(t, s, section(stBytes).put("k", "1"))
	find := func() *table {
		i, _ := s.spaces[1].cfg.stateIndex(stBytes)
		return s.spaces[1].live[i].groups[0]
	}
	before := find()
	view := s.Capture()
	apply(t, s, section(stBytes).op(OpDelete, "absent", ""))
	if find() != before {
		t.Error("cloned for a delete of nothing")
	}
	apply(t, s, section(stBytes).put("k", "2"))
	cloned := find()
	apply(t, s, section(stBytes).put("k", "3"))
	if cloned == before || find() != cloned {
		t.Error("not cloned exactly once")
	}
	f, err := view.Frozen(1, 0)
	mustDo(t, err)
	view.Release()
	var v Values
	mustDo(t, f.Get(stBytes, ByHash, []uint32{1}, []byte("k"), &v))
	if string(v.Values) != "1" {
		t.Errorf("captured value %q", v.Values)
	}
}

func TestGet_MaxBytes(t *testing.T) {
	s := newStore(t, testConfig())
	apply(t, s, section(stBytes).put("a", "12345").put("b", "12345").put("c", "12345").put("d", ""))
	v := Values{MaxBytes: 10}
	lengths, keys := []uint32{1, 1, 1, 1, 1}, []byte("axbcd")
	mustDo(t, s.Get(1, 0, stBytes, ByHash, lengths, keys, &v))
	if string(v.Found) != "\x01\x00\x01" || string(v.Values) != "1234512345" {
		t.Fatalf("first page %q %q", v.Found, v.Values)
	}
	n := len(v.Found)
	v.Reset()
	v.MaxBytes = 1 // the first value is given whatever its size
	mustDo(t, s.Get(1, 0, stBytes, ByHash, lengths[n:], keys[n:], &v))
	if string(v.Found) != "\x01" || !slices.Equal(v.ValueLengths, []uint32{5}) {
		t.Fatalf("second page %q %v", v.Found, v.ValueLengths)
	}
}

func TestGet_Malformed(t *testing.T) {
	s := newStore(t, testConfig())
	var v Values
	for i, c := range []struct {
		lengths []uint32
		keys    string
		want    error
	}{
		{[]uint32{2}, "a", ErrMalformed}, {[]uint32{1}, "ab", ErrMalformed}, {nil, "a", ErrMalformed},
		{[]uint32{65}, "a", ErrKeyTooLarge}, {nil, "", nil}, {[]uint32{0}, "", nil},
	} {
		if err := s.Get(1, 0, stBytes, ByHash, c.lengths, []byte(c.keys), &v); !errors.Is(err, c.want) {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

// Memory grows by what a version does not share with the live state, and goes with
// the version.
func TestStore_MemoryCountsSharedTablesOnce(t *testing.T) {
	s := newStore(t, testConfig())
	apply(t, s, section(stBytes).put("a", "1").put("b", "2"))
	before := s.MemoryBytes()
	if before == 0 {
		t.Fatal("two keys take no memory")
	}
	mustDo(t, s.Freeze(1, 1))
	directories := s.MemoryBytes() - before
	if want := int64(testConfig().End) * wordBytes; directories != want {
		t.Errorf("a version that shares everything takes %d bytes more, want %d of its directory", directories, want)
	}
	apply(t, s, section(stBytes).put("a", "3"))
	if own := s.MemoryBytes() - before - directories; own <= 0 {
		t.Errorf("a version with a table of its own takes %d bytes more", own)
	}
	mustDo(t, s.DropVersion(1, 1))
	if after := s.MemoryBytes(); after > 2*before {
		t.Errorf("%d bytes before the version and %d after it", before, after)
	}
}
