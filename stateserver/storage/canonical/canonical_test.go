package canonical_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
	filescheme "github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

type entry struct {
	state      int
	keyGroup   uint32
	key, value string
}

func (e entry) compare(o entry) int {
	if c := e.state - o.state; c != 0 {
		return c
	}
	if c := int(e.keyGroup) - int(o.keyGroup); c != 0 {
		return c
	}
	return bytes.Compare([]byte(e.key), []byte(o.key))
}

func header(start, end uint32, states ...string) *holdfastv1.SnapshotHeader {
	h := &holdfastv1.SnapshotHeader{OperatorUid: "op", MaxParallelism: 128, KeyGroupStart: start, KeyGroupEnd: end}
	for i, name := range states {
		h.States = append(h.States, &holdfastv1.SnapshotState{State: &holdfastv1.StateDescriptor{
			Name: name, Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64", TypeVersion: uint32(i),
		}})
	}
	return h
}

func encode(t testing.TB, h *holdfastv1.SnapshotHeader, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := canonical.NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Add(e.state, e.keyGroup, []byte(e.key), []byte(e.value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode reads everything in some key groups.
func decode(file []byte, start, end uint32) ([]entry, error) {
	r, err := canonical.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	var all []entry
	for state := range r.Header().GetStates() {
		it := r.Scan(state, start, end)
		for it.Next() {
			all = append(all, entry{state, it.KeyGroup(), string(it.Key()), string(it.Value())})
		}
		if it.Err() != nil {
			return all, it.Err()
		}
	}
	return all, nil
}

func TestCanonical_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint32Range(0, 100).Draw(t, "start")
		end := rapid.Uint32Range(start+1, 128).Draw(t, "end")
		var entries []entry
		// Large values make blocks end often, and blocks of one entry.
		sizes := rapid.SampledFrom([]int{10, 3000, 100_000}).Draw(t, "largest value")
		for range rapid.IntRange(0, 60).Draw(t, "entries") {
			entries = append(entries, entry{
				rapid.IntRange(0, 2).Draw(t, "state"), rapid.Uint32Range(start, end-1).Draw(t, "key group"),
				rapid.StringN(0, 5, 20).Draw(t, "key"), string(make([]byte, rapid.IntRange(0, sizes).Draw(t, "size"))),
			})
		}
		slices.SortFunc(entries, entry.compare)
		entries = slices.CompactFunc(entries, func(a, b entry) bool { return a.compare(b) == 0 })

		var b bytes.Buffer
		w, err := canonical.NewWriter(&b, header(start, end, "a", "b", "c"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := w.Add(e.state, e.keyGroup, []byte(e.key), []byte(e.value)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		from := rapid.Uint32Range(0, 128).Draw(t, "from")
		to := rapid.Uint32Range(0, 130).Draw(t, "to")
		got, err := decode(b.Bytes(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.keyGroup < from || e.keyGroup >= to })
		if !slices.Equal(got, want) {
			t.Fatalf("key groups %d to %d: %d entries, want %d", from, to, len(got), len(want))
		}
	})
}

func TestCanonical_Header(t *testing.T) {
	h := header(3, 9, "a", "b")
	file := encode(t, h, []entry{{1, 3, "k", "vv"}, {1, 4, "k", ""}})
	r, err := canonical.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	h.States[1].Entries, h.States[1].Bytes = 2, 4
	if !proto.Equal(r.Header(), h) {
		t.Errorf("header %v, want %v", r.Header(), h)
	}
	if i, ok := r.State("b"); !ok || i != 1 {
		t.Errorf("state b is %d, %v", i, ok)
	}
	if _, ok := r.State("c"); ok {
		t.Error("state c is there")
	}
	if it := r.ScanAll(2); it.Next() || it.Err() == nil {
		t.Error("a state that is not there is scanned")
	}
}

func TestCanonical_OutOfOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		second entry
		order  bool
	}{
		{"the same key", entry{1, 5, "k", ""}, true},
		{"a smaller key", entry{1, 5, "j", ""}, true},
		{"a smaller key group", entry{1, 4, "z", ""}, true},
		{"an earlier state", entry{0, 5, "z", ""}, true},
		{"a key group of another subtask", entry{1, 9, "z", ""}, false},
		{"a state that is not declared", entry{2, 5, "z", ""}, false},
	} {
		w, err := canonical.NewWriter(io.Discard, header(3, 9, "a", "b"))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(1, 5, []byte("k"), nil); err != nil {
			t.Fatal(err)
		}
		err = w.Add(c.second.state, c.second.keyGroup, []byte(c.second.key), nil)
		if err == nil || errors.Is(err, canonical.ErrOrder) != c.order {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := w.Add(1, 5, []byte("l"), nil); err != nil {
			t.Errorf("%s: the next one is refused, too: %v", c.name, err)
		}
	}
}

func TestCanonical_HeadersThatAreNone(t *testing.T) {
	for name, h := range map[string]*holdfastv1.SnapshotHeader{
		"no key groups":  {MaxParallelism: 0},
		"too many":       {MaxParallelism: 40000, KeyGroupEnd: 1},
		"empty range":    {MaxParallelism: 128, KeyGroupStart: 5, KeyGroupEnd: 5},
		"beyond the end": {MaxParallelism: 128, KeyGroupStart: 5, KeyGroupEnd: 129},
		"twice":          header(0, 1, "a", "a"),
	} {
		if _, err := canonical.NewWriter(io.Discard, h); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// sample has several blocks and states.
func sample(t testing.TB) []byte {
	var entries []entry
	for state := range 2 {
		for group := uint32(3); group < 9; group++ {
			for i := range 4 {
				entries = append(entries, entry{state, group, fmt.Sprintf("key%d", i), string(bytes.Repeat([]byte{byte(i)}, 5+8000*(i%2)))})
			}
		}
	}
	return encode(t, header(3, 9, "a", "b"), entries)
}

// Every byte counts: whichever is flipped, the reader says so.
func TestCanonical_FlippedBytes(t *testing.T) {
	file := sample(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range file {
		if i > 100 && i < len(file)-400 && i%997 != 0 {
			continue
		}
		flipped := bytes.Clone(file)
		flipped[i] ^= 1 << rng.IntN(8)
		_, err := decode(flipped, 0, 128)
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("byte %d of %d flipped: %v", i, len(file), err)
		}
	}
}

func TestCanonical_Truncated(t *testing.T) {
	file := sample(t)
	for n := 0; n < len(file); n += 1 + n%31 {
		if _, err := decode(file[:n], 0, 128); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(file), err)
		}
	}
}

// A snapshot whose writer died before Close is none.
func TestCanonical_NotClosed(t *testing.T) {
	var b bytes.Buffer
	w, err := canonical.NewWriter(&b, header(3, 9, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if err := w.Add(0, 3, []byte{byte(i)}, make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := decode(b.Bytes(), 0, 128); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
}

// failing fails from some byte on.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestCanonical_WriteErrorSticks(t *testing.T) {
	w, err := canonical.NewWriter(&failing{left: 70_000}, header(3, 9, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		err = w.Add(0, 3, []byte{byte(i)}, make([]byte, 5000))
	}
	if !errors.Is(err, errFull) || !errors.Is(w.Close(), errFull) {
		t.Errorf("add: %v, close: %v", err, w.Close())
	}
}

// reads counts what is read.
type reads struct {
	*bytes.Reader
	n int
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	r.n += len(p)
	return r.Reader.ReadAt(p, off)
}

// A rescaled restore reads its own key groups and little more.
func TestCanonical_ReadsOnlyItsKeyGroups(t *testing.T) {
	var entries []entry
	for group := range uint32(128) {
		for i := range 200 {
			entries = append(entries, entry{0, group, fmt.Sprintf("key-%09d", i), "a value of some bytes, so that there are many blocks: 0123456789"})
		}
	}
	file := encode(t, header(0, 128, "a"), entries)
	in := &reads{Reader: bytes.NewReader(file)}
	r, err := canonical.NewReader(in, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	in.n = 0
	n := 0
	for it := r.Scan(0, 64, 80); it.Next(); n++ {
		if it.KeyGroup() < 64 || it.KeyGroup() >= 80 {
			t.Fatalf("key group %d", it.KeyGroup())
		}
	}
	if n != 16*200 {
		t.Errorf("%d entries, want %d", n, 16*200)
	}
	if most := len(file)/8 + 2*64<<10; in.n > most {
		t.Errorf("read %d of %d bytes for an eighth of the key groups, want at most %d", in.n, len(file), most)
	}
}

func TestCanonical_NoAllocationAnEntry(t *testing.T) {
	const n = 100_000
	key, value := make([]byte, 16), make([]byte, 8)
	var file bytes.Buffer
	file.Grow(4 << 20)
	h := header(0, 128, "a")
	writing := testing.AllocsPerRun(1, func() {
		file.Reset()
		w, err := canonical.NewWriter(&file, h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			binary.BigEndian.PutUint64(key, uint64(i))
			if err := w.Add(0, 0, key, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	in := bytes.NewReader(file.Bytes())
	reading := testing.AllocsPerRun(1, func() {
		r, err := canonical.NewReader(in, in.Size())
		if err != nil {
			t.Fatal(err)
		}
		it := r.ScanAll(0)
		for it.Next() {
			_ = it.Key()
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	})
	if writing > 200 || reading > 200 {
		t.Errorf("%v allocations to write %d entries, %v to read them", writing, n, reading)
	}
}

func FuzzCanonical_Read(f *testing.F) {
	f.Add([]byte{})
	f.Add(encode(f, header(0, 1), nil))
	f.Add(encode(f, header(0, 2, "a", "b"), []entry{{0, 0, "k", "v"}, {0, 1, "k", "v"}, {1, 0, "", ""}}))
	f.Add(sample(f)[:2000])
	f.Fuzz(readAndWriteAgain)
}

// readAndWriteAgain: what is read as a whole can be written again, and is the same
// then.
func readAndWriteAgain(t *testing.T, file []byte) {
	entries, err := decode(file, 0, 1<<31)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("error of another kind: %v", err)
		}
		return
	}
	r, err := canonical.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := decode(encode(t, r.Header(), entries), 0, 1<<31)
	if err != nil || !slices.Equal(again, entries) {
		t.Fatalf("written again: %d entries, %v; want %d", len(again), err, len(entries))
	}
}

// FuzzCanonical_Contents has right checksums around any contents.
func FuzzCanonical_Contents(f *testing.F) {
	split := func(file []byte) (blocks, header, index []byte) {
		u := binary.LittleEndian.Uint64
		t := file[len(file)-48:]
		return file[8:u(t)], file[u(t) : u(t)+u(t[8:])], file[u(t[16:]) : u(t[16:])+u(t[24:])]
	}
	for _, file := range [][]byte{
		encode(f, header(0, 1), nil),
		encode(f, header(0, 2, "a", "b"), []entry{{0, 0, "k", "v"}, {0, 1, "k", "v"}, {1, 0, "", ""}}),
		encode(f, header(0, 9, "a"), []entry{{0, 0, "a", "1"}, {0, 0, "b", "2"}, {0, 3, "a", "3"}, {0, 8, "z", "4"}}),
	} {
		blocks, header, index := split(file)
		f.Add(blocks, header, index)
	}
	f.Fuzz(func(t *testing.T, blocks, header, index []byte) {
		table := crc32.MakeTable(crc32.Castagnoli)
		u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
		index = bytes.Clone(index)
		for i := 0; i+32 <= len(index); i += 32 {
			at, n := u64(index[i+16:])-8, uint64(u32(index[i+12:]))
			if at <= uint64(len(blocks)) && n <= uint64(len(blocks))-at {
				binary.LittleEndian.PutUint32(index[i+28:], crc32.Checksum(blocks[at:at+n], table))
			}
		}
		file := slices.Concat([]byte("HFCANON1"), blocks, header, index)
		at := uint64(8 + len(blocks))
		for _, n := range []uint64{at, uint64(len(header)), at + uint64(len(header)), uint64(len(index))} {
			file = binary.LittleEndian.AppendUint64(file, n)
		}
		file = binary.LittleEndian.AppendUint32(file, crc32.Checksum(header, table))
		file = binary.LittleEndian.AppendUint32(file, crc32.Checksum(index, table))
		readAndWriteAgain(t, append(file, "1NONACFH"...))
	})
}

// A handle's file is named in errors, and another file of the same size is noticed.
func TestCanonical_Open(t *testing.T) {
	s := openFiles(t)
	file := sample(t)
	h := storagetest.Write(t, s, "chk-1/f", file)
	r, err := canonical.Open(t.Context(), s, storage.Handle{File: &h})
	if err != nil {
		t.Fatal(err)
	}
	it, n := r.Scan(1, 4, 6), 0
	for it.Next() {
		n++
	}
	if n != 8 || it.Err() != nil || r.Close() != nil {
		t.Errorf("%d entries, %v", n, it.Err())
	}
	inline, err := canonical.Open(t.Context(), s, storage.Handle{Inline: file})
	if err != nil || len(inline.Header().GetStates()) != 2 {
		t.Errorf("inline: %v", err)
	}
	flipped := bytes.Clone(file)
	flipped[100] ^= 1
	storagetest.Write(t, s, "chk-1/f", flipped)
	if r, err = canonical.Open(t.Context(), s, storage.Handle{File: &h}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it = r.ScanAll(0)
	for it.Next() {
	}
	if !errors.Is(it.Err(), storage.ErrCorrupt) || it.Err().Error() != "read "+s.URL()+"/chk-1/f: the checksum of block 0, at byte 8, is wrong" {
		t.Errorf("error %v", it.Err())
	}
	storagetest.Write(t, s, "chk-1/f", encode(t, header(3, 9, "a"), nil))
	if _, err := canonical.Open(t.Context(), s, storage.Handle{File: &h}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("another file: %v", err)
	}
}

func openFiles(t *testing.T) storage.Storage {
	t.Helper()
	dir := "file://" + t.TempDir()
	s, err := storage.NewRegistry(storage.AnyRoot(), map[string]storage.Scheme{"file": filescheme.Scheme{NoFsync: true}}).Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func BenchmarkCanonical_Write(b *testing.B) {
	key, value := make([]byte, 16), make([]byte, 8)
	b.SetBytes(int64(len(key) + len(value)))
	b.ReportAllocs()
	w, err := canonical.NewWriter(io.Discard, header(0, 128, "a"))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(key, uint64(i))
		if err := w.Add(0, 0, key, value); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCanonical_Read(b *testing.B) {
	const n = 1 << 20
	key, value := make([]byte, 16), make([]byte, 8)
	var file bytes.Buffer
	w, err := canonical.NewWriter(&file, header(0, 128, "a"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		binary.BigEndian.PutUint64(key, uint64(i))
		if err := w.Add(0, uint32(i)/(n/128), key, value); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	r, err := canonical.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(key) + len(value)))
	b.ReportAllocs()
	it := r.ScanAll(0)
	for b.Loop() {
		if !it.Next() {
			if it.Err() != nil {
				b.Fatal(it.Err())
			}
			it = r.ScanAll(0)
		}
	}
}
