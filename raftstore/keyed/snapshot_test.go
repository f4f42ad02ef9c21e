package keyed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// snapshotSample is a store with everything that a snapshot can hold.
func snapshotSample(t testing.TB) *Store {
	s := filled(t)
	mustDo(t, s.Freeze(1, 5))
	apply(t, s, section(stBytes).op(OpDelete, "c", ""))
	mustDo(t, s.Apply(1, []Section{
		*section(stList).op(OpAppend, "l", elementsOf("a", "")), *section(stMap).op(OpMapPut, "m", entriesOf("k", "1", "l", "2")),
		*section(stValueTTL).put("v", "x"), *section(stListTTL).op(OpAppend, "l", elementsOf(f64(1))),
		*section(stMapTTL).op(OpMapPut, "m", entriesOf("k", "1")), *section(stIntTTL).op(OpAdd, "n", i64(3)),
	}, 1000))
	mustDo(t, s.Create(3, SpaceConfig{NumGroups: 4, Start: 2, End: 4, CoPartitioned: true, States: []StateConfig{{ID: 1}}}))
	mustDo(t, s.Apply(3, []Section{{StateID: 1, KeyGroup: 2, Ops: []byte{OpPut}, KeyLengths: []uint32{1},
		Keys: []byte("k"), ValueLengths: []uint32{5}, Values: []byte("value")}}, 0))
	mustDo(t, s.Create(2, SpaceConfig{NumGroups: 1}))
	return s
}

// TestSnapshot_Golden: the format is permanent; a new one takes a new number.
func TestSnapshot_Golden(t *testing.T) {
	got := written(t, snapshotSample(t))
	path := filepath.Join("testdata", "snapshot-v1.hex")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		mustDo(t, os.WriteFile(path, []byte(wrapHex(got)), 0o644))
	}
	text, err := os.ReadFile(path)
	mustDo(t, err)
	want, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	mustDo(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("the snapshot of the sample is\n%swant\n%s", wrapHex(got), text)
	}
	s, err := Read(bytes.NewReader(want))
	mustDo(t, err)
	if s.Hash() != snapshotSample(t).Hash() {
		t.Error("the golden snapshot reads as something else")
	}
}

func wrapHex(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(32, len(b))
		out.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return out.String()
}

func TestSnapshot_RoundTrip(t *testing.T) {
	s := snapshotSample(t)
	got := reread(t, s)
	if got.Hash() != s.Hash() {
		t.Fatal("hash differs")
	}
	// What was read goes on like the original.
	for _, st := range []*Store{s, got} {
		apply(t, st, section(stBytes).put("a", "9").put("new", "1"))
		mustDo(t, st.Freeze(1, 6))
		mustDo(t, st.DropVersionsBelow(1, 5))
		mustDo(t, st.Restore(1, 5))
	}
	if got.Hash() != s.Hash() {
		t.Fatal("hash differs after the same commands")
	}
}

// TestSnapshot_SharedTablesOnce: an unchanged version costs references, and
// is shared again after Read.
func TestSnapshot_SharedTablesOnce(t *testing.T) {
	s := newStore(t, testConfig())
	sec := section(stBytes)
	for i := range 1000 {
		sec.put(string(rune('A'+i)), strings.Repeat("v", 100))
	}
	apply(t, s, sec)
	single := len(written(t, s))
	mustDo(t, s.Freeze(1, 1))
	mustDo(t, s.Freeze(1, 2))
	double := len(written(t, s))
	if double > single+2*16*(recordHead+12)+2*(recordHead+8) {
		t.Errorf("%d bytes, %d without the versions", double, single)
	}
	got := reread(t, s).spaces[1]
	i, _ := got.cfg.stateIndex(stBytes)
	for g, tab := range got.live[i].groups {
		if tab != got.versions[0].states[i].groups[g] || tab != got.versions[1].states[i].groups[g] || tab.epoch == got.epoch {
			t.Fatalf("group %d is not shared", g)
		}
	}
}

// TestSnapshot_ReadsNoFurther: a snapshot may be a part of a larger stream.
func TestSnapshot_ReadsNoFurther(t *testing.T) {
	r := bytes.NewReader(append(written(t, snapshotSample(t)), "rest"...))
	_, err := Read(r)
	mustDo(t, err)
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("left %q", rest)
	}
}

func TestSnapshot_CutOff(t *testing.T) {
	b := written(t, snapshotSample(t))
	for n := range b {
		if _, err := Read(iotest.OneByteReader(bytes.NewReader(b[:n]))); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestSnapshot_FlippedBit(t *testing.T) {
	b := written(t, snapshotSample(t))
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := Read(bytes.NewReader(b)); !errors.Is(err, ErrCorruptSnapshot) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
			b[i] ^= 1 << bit
		}
	}
}

// TestSnapshot_Invalid: records that no View writes, with a good checksum.
func TestSnapshot_Invalid(t *testing.T) {
	space := func(id uint64) func(*recordWriter) {
		return func(w *recordWriter) {
			cfg, _ := SpaceConfig{NumGroups: 16, End: 16, States: []StateConfig{{ID: 1, Type: TypeInt64}, {ID: 2}}}.normalize()
			(&viewSpace{id: id, cfg: cfg}).writeConfig(w)
		}
	}
	rec := func(typ byte, words ...uint32) func(*recordWriter) {
		return func(w *recordWriter) {
			w.begin(typ)
			for _, v := range words {
				w.u32(v)
			}
			w.end()
		}
	}
	live := rec(recordImage, 0, 0)
	g := KeyGroup([]byte("abcd"), 16)
	const abcd = 'a' | 'b'<<8 | 'c'<<16 | 'd'<<24
	table := rec(recordTable, 2, g, 1, 0, 4, 0)
	entry := rec(recordEntries, 4, 0, abcd)
	for name, records := range map[string][]func(*recordWriter){
		"type 0":              {rec(0)},
		"second header":       {rec(recordHeader)},
		"image first":         {live},
		"table first":         {table},
		"entries first":       {entry},
		"space without live":  {space(1)},
		"two without live":    {space(1), space(2), live},
		"spaces out of order": {space(2), live, space(1), live},
		"space twice":         {space(1), live, space(1), live},
		"version first":       {space(1), rec(recordImage, 1, 0)},
		"live twice":          {space(1), live, live},
		"version twice":       {space(1), live, rec(recordImage, 1, 0), rec(recordImage, 1, 0)},
		"long image record":   {space(1), rec(recordImage, 0, 0, 0)},
		"short space record":  {rec(recordSpace, 1, 0, 0)},
		"many states":         {rec(recordSpace, 1, 0, 0, 1, 1, 0x01000000, 0x01000000, 0xffff0000, 0xffffffff)},
		"cleaning nowhere": {func(w *recordWriter) {
			cfg, _ := SpaceConfig{NumGroups: 16, End: 16, States: []StateConfig{{ID: 1}}}.normalize()
			(&viewSpace{id: 1, cfg: cfg, clean: cleaner{state: 1}}).writeConfig(w)
		}, live},
		"table of no image":   {space(1), table, entry},
		"unknown state":       {space(1), live, rec(recordTable, 3, g, 1, 0, 4, 0), entry},
		"unknown group":       {space(1), live, rec(recordTable, 2, 16, 1, 0, 4, 0), entry},
		"no entries":          {space(1), live, rec(recordTable, 2, g, 0, 0, 0, 0)},
		"entries missing":     {space(1), live, table},
		"entries twice":       {space(1), live, table, entry, entry},
		"entries after image": {space(1), live, table, entry, rec(recordImage, 1, 0), entry},
		"key twice":           {space(1), live, rec(recordTable, 2, g, 2, 0, 8, 0), entry, entry},
		"wrong totals":        {space(1), live, rec(recordTable, 2, g, 1, 0, 5, 0), entry},
		"table twice":         {space(1), live, table, entry, table, entry},
		"foreign group":       {space(1), live, rec(recordTable, 2, (g+1)%16, 1, 0, 4, 0), entry},
		"no number":           {space(1), live, rec(recordTable, 1, g, 1, 0, 4, 0), entry},
		"entry cut off":       {space(1), live, table, rec(recordEntries, 4, 1, abcd)},
		"huge key length":     {space(1), live, table, rec(recordEntries, 0xffffffff, 0xffffffff, abcd)},
		"key too large":       {space(1), live, table, rec(recordEntries, append([]uint32{8000, 0}, make([]uint32, 2000)...)...)},
		"reference ahead":     {space(1), live, rec(recordRef, 2, g, 0)},
		"reference elsewhere": {space(1), live, table, entry, rec(recordImage, 1, 0), rec(recordRef, 1, g, 0)},
		"reference long":      {space(1), live, table, entry, rec(recordImage, 1, 0), rec(recordRef, 2, g, 0, 0)},
	} {
		if _, err := Read(bytes.NewReader(forged(records...))); !errors.Is(err, ErrCorruptSnapshot) || strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A state 3 with an empty list, and one 3 whose value has no time.
	for name, st := range map[string]StateConfig{"empty list": {ID: 3, Kind: KindList}, "no time": {ID: 3, TTLMs: 1}} {
		cfg, _ := SpaceConfig{NumGroups: 16, End: 16, States: []StateConfig{st}}.normalize()
		b := forged(func(w *recordWriter) { (&viewSpace{id: 1, cfg: cfg}).writeConfig(w) }, live, rec(recordTable, 3, g, 1, 0, 4, 0), entry)
		if _, err := Read(bytes.NewReader(b)); !errors.Is(err, ErrCorruptSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := forged(space(1), live, table, entry, rec(recordImage, 1, 0), rec(recordRef, 2, g, 0))
	if _, err := Read(bytes.NewReader(good)); err != nil {
		t.Errorf("the valid one: %v", err)
	}
}

// forged writes a header, the records and a correct end.
func forged(records ...func(*recordWriter)) []byte {
	var b bytes.Buffer
	w := newRecordWriter(&b)
	w.begin(recordHeader)
	w.buf = append(w.buf, snapshotMagic...)
	w.u32(snapshotFormat)
	w.end()
	for _, f := range records {
		f(w)
	}
	_ = w.close()
	return b.Bytes()
}

func TestSnapshot_WriteErrors(t *testing.T) {
	s := snapshotSample(t)
	v := s.Capture()
	want := errors.New("disk full")
	for n := range 3 {
		if err := v.Write(&failingWriter{left: n * 100, err: want}); !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v", n*100, err)
		}
	}
	v.Release()
	if err := v.Write(io.Discard); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	if _, err := v.Frozen(1, 0); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	want = errors.New("disk gone")
	if _, err := Read(iotest.ErrReader(want)); !errors.Is(err, want) {
		t.Error(err)
	}
}

type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, w.err
	}
	return len(b), nil
}

func TestView_Frozen(t *testing.T) {
	v := snapshotSample(t).Capture()
	f, err := v.Frozen(1, 1)
	mustDo(t, err)
	if bytes, entries, err := f.Bytes(stBytes); bytes != 3 || entries != 2 || err != nil {
		t.Error(bytes, entries, err)
	}
	if _, err := v.Frozen(1, 2); !errors.Is(err, ErrUnknownVersion) {
		t.Error(err)
	}
	if _, err := v.Frozen(9, 0); !errors.Is(err, ErrUnknownSpace) {
		t.Error(err)
	}
}
