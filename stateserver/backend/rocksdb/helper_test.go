package rocksdb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"sync"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// States of the test spaces.
const (
	stBytes uint32 = 7
	stInt   uint32 = 9
	stFloat uint32 = 3
)

func testSpace() keyed.SpaceConfig {
	return keyed.SpaceConfig{Start: 0, End: 16, NumGroups: 16, MaxKeyBytes: 64, MaxValueBytes: 4096, States: []keyed.StateConfig{
		{ID: stBytes}, {ID: stInt, Type: keyed.TypeInt64}, {ID: stFloat, Type: keyed.TypeFloat64},
	}}
}

func newBackend(t testing.TB) *Backend {
	t.Helper()
	b, err := New(backend.Env{Dir: t.TempDir(), CacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.(*Backend)
}

func openState(t testing.TB, b *Backend, name string, space keyed.SpaceConfig) *State {
	t.Helper()
	s, err := b.Open(context.Background(), backend.Spec{Name: name, Space: space})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustDo(t, s.Close()) })
	return s.(*State)
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sectionOf builds a section, op by op.
type sectionOf struct{ keyed.Section }

func section(state uint32) *sectionOf {
	return &sectionOf{keyed.Section{StateID: state, KeyGroup: keyed.ByHash}}
}

func (s *sectionOf) op(op keyed.Op, key, value string) *sectionOf {
	s.Ops = append(s.Ops, op)
	s.KeyLengths = append(s.KeyLengths, uint32(len(key)))
	s.Keys = append(s.Keys, key...)
	s.ValueLengths = append(s.ValueLengths, uint32(len(value)))
	s.Values = append(s.Values, value...)
	return s
}

func (s *sectionOf) put(key, value string) *sectionOf { return s.op(keyed.OpPut, key, value) }

func apply(t testing.TB, s backend.State, sections ...*sectionOf) {
	t.Helper()
	mustDo(t, tryApply(s, sections...))
}

func tryApply(s backend.State, sections ...*sectionOf) error {
	var all []keyed.Section
	for _, sec := range sections {
		all = append(all, sec.Section)
	}
	return s.Apply(all, 0)
}

// contents reads a state by Scan, in pages of a few.
func contents(t testing.TB, s backend.State, state uint32) map[string]string {
	t.Helper()
	out := map[string]string{}
	var at keyed.Cursor
	for done := false; !done; {
		page, next, end, err := s.Scan(state, at, 7, 1<<20)
		mustDo(t, err)
		keys, values := page.Keys, page.Values
		for i, n := range page.KeyLengths {
			out[string(keys[:n])] = string(values[:page.ValueLengths[i]])
			keys, values = keys[n:], values[page.ValueLengths[i]:]
		}
		at, done = next, end
	}
	return out
}

func getAt(t testing.TB, s backend.State, state uint32, key string, now int64) (string, bool) {
	t.Helper()
	var v keyed.Values
	mustDo(t, s.Get(state, keyed.ByHash, []uint32{uint32(len(key))}, []byte(key), &v, now))
	return string(v.Values), v.Found[0] == 1
}

func i64(v int64) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(v))) }

func f64(v float64) string {
	return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
}

// storage is checkpoint storage in memory.
type storage struct {
	mu      sync.Mutex
	files   map[string][]byte
	prefix  string // of the checkpoint
	written int    // bytes
	opened  int    // files
	fail    error  // of writes
	inline  int    // up to this size, bytes are inline

	snapshots int // so far
}

func newStorage() *storage { return &storage{files: map[string][]byte{}} }

func (s *storage) Create(_ context.Context, name, format string, shared bool) (backend.Writer, error) {
	dir := s.prefix
	if shared {
		dir = "shared/" + s.prefix
	}
	return &writer{s: s, h: &holdfastv1.StateHandle{Name: name, Format: format, File: path.Join(dir, name)}}, nil
}

type writer struct {
	s *storage
	h *holdfastv1.StateHandle
	b bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	if w.s.fail != nil {
		return 0, w.s.fail
	}
	return w.b.Write(p)
}

func (w *writer) Commit() (*holdfastv1.StateHandle, error) {
	w.h.Size = uint64(w.b.Len())
	if w.b.Len() <= w.s.inline {
		w.h.File, w.h.Inline = "", w.b.Bytes()
		return w.h, nil
	}
	sum := sha256.Sum256(w.b.Bytes())
	w.h.Sha256 = sum[:]
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if _, ok := w.s.files[w.h.File]; ok {
		return nil, fmt.Errorf("%s is there", w.h.File)
	}
	w.s.files[w.h.File] = w.b.Bytes()
	w.s.written += w.b.Len()
	return w.h, nil
}

func (w *writer) Abort() {}

func (s *storage) Open(_ context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	if h.File == "" {
		return io.NopCloser(bytes.NewReader(h.Inline)), nil
	}
	b, ok := s.files[h.File]
	if !ok {
		return nil, fmt.Errorf("%s is not there", h.File)
	}
	if sum := sha256.Sum256(b); uint64(len(b)) != h.Size || !bytes.Equal(sum[:], h.Sha256) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), failing{fmt.Errorf("%s: other content", h.File)})), nil
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// write cuts and writes a checkpoint.
func (s *storage) write(t testing.TB, st backend.State, n uint64, base *backend.Base, incremental bool) *backend.Base {
	t.Helper()
	snap, err := st.Cut(n)
	mustDo(t, err)
	return s.finish(t, snap, n, base, incremental)
}

func (s *storage) finish(t testing.TB, snap backend.Snapshot, n uint64, base *backend.Base, incremental bool) *backend.Base {
	t.Helper()
	s.snapshots++
	s.prefix = fmt.Sprintf("chk-%d-%d", n, s.snapshots)
	handles, err := snap.Write(context.Background(), s, base, incremental)
	mustDo(t, err)
	snap.Release()
	return &backend.Base{ID: n, Handles: handles}
}

// entriesOf yields what a snapshot has.
func readAll(t testing.TB, b backend.Backend, s *storage, handles []*holdfastv1.StateHandle) map[uint32]map[string]string {
	t.Helper()
	it, err := b.ReadSnapshot(context.Background(), backend.Spec{Name: "read", Space: testSpace()}, s, handles)
	mustDo(t, err)
	out := map[uint32]map[string]string{}
	for it.Next() {
		e := it.Entry()
		if out[e.StateID] == nil {
			out[e.StateID] = map[string]string{}
		}
		out[e.StateID][string(e.Key)] = string(e.Value)
	}
	mustDo(t, errors.Join(it.Err(), it.Close()))
	return out
}
