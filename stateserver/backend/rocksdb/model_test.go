package rocksdb

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// world is a state of this backend beside the same one in memory, which is the
// oracle: every answer must be the same.
type world struct {
	t      *testing.T
	b      *Backend
	space  keyed.SpaceConfig
	s      *State
	oracle *keyed.Store
	files  *storage

	opened  int
	next    uint64          // checkpoint
	base    *backend.Base   // newest completed
	version map[uint64]bool // frozen in the oracle
}

func (w *world) open() {
	w.opened++
	s, err := w.b.Open(w.t.Context(), backend.Spec{Name: fmt.Sprintf("s-%d", w.opened), Space: w.space})
	mustDo(w.t, err)
	w.s = s.(*State)
}

func drawSection(rt *rapid.T) *sectionOf {
	id := rapid.SampledFrom([]uint32{stBytes, stInt, stFloat}).Draw(rt, "state")
	sec := section(id)
	for range rapid.IntRange(0, 30).Draw(rt, "ops") {
		key := fmt.Sprintf("k%d", rapid.IntRange(0, 40).Draw(rt, "key"))
		op := rapid.SampledFrom([]keyed.Op{keyed.OpPut, keyed.OpDelete, keyed.OpAdd, keyed.OpMin, keyed.OpMax}).Draw(rt, "op")
		switch {
		case op == keyed.OpDelete:
			sec.op(op, key, "")
		case id == stBytes:
			sec.put(key, string(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(rt, "value")))
		case id == stInt:
			sec.op(op, key, i64(rapid.Int64().Draw(rt, "int")))
		default:
			v := rapid.SampledFrom([]float64{0, 1, -1, 0.1, 1e300, 1e-300, 3.3}).Draw(rt, "float")
			sec.op(op, key, f64(v*float64(rapid.IntRange(-3, 3).Draw(rt, "times"))))
		}
	}
	return sec
}

func (w *world) flush(rt *rapid.T) {
	var sections []keyed.Section
	for range rapid.IntRange(0, 3).Draw(rt, "sections") {
		sections = append(sections, drawSection(rt).Section)
	}
	got, want := w.s.Apply(sections, 0), w.oracle.Apply(1, sections, 0)
	if (got == nil) != (want == nil) || want != nil && got.Error() != want.Error() {
		rt.Fatalf("Apply: %v, want %v", got, want)
	}
}

// compare checks every key of the state against the oracle.
func (w *world) compare(rt *rapid.T) {
	for _, st := range w.space.States {
		want := oracleContents(rt, w.oracle, 0, st.ID)
		if got := contents(w.t, w.s, st.ID); !maps.Equal(got, want) {
			rt.Fatalf("state %d: %q, want %q", st.ID, got, want)
		}
		bytes := int64(0)
		for key, value := range want {
			bytes += int64(len(key) + len(value))
			if got, ok := getOne(w.t, w.s, st.ID, key); !ok || got != value {
				rt.Fatalf("state %d, key %s: %q, %v, want %q", st.ID, key, got, ok, value)
			}
		}
		if b, n, err := w.s.Bytes(st.ID); err != nil || b != bytes || n != int64(len(want)) {
			rt.Fatalf("state %d: %d bytes, %d entries, %v, want %d, %d", st.ID, b, n, err, bytes, len(want))
		}
	}
}

func oracleContents(rt *rapid.T, s *keyed.Store, version uint64, state uint32) map[string]string {
	page, _, done, err := s.Scan(1, version, state, keyed.Cursor{}, 1<<16, 1<<20)
	if err != nil || !done {
		rt.Fatal(done, err)
	}
	out := map[string]string{}
	keys, values := page.Keys, page.Values
	for i, n := range page.KeyLengths {
		out[string(keys[:n])] = string(values[:page.ValueLengths[i]])
		keys, values = keys[n:], values[page.ValueLengths[i]:]
	}
	return out
}

// checkpoint cuts, changes the state, and only then writes what was cut.
func (w *world) checkpoint(rt *rapid.T) {
	w.next++
	snap, err := w.s.Cut(w.next)
	mustDo(w.t, err)
	mustDo(w.t, w.oracle.Freeze(1, w.next))
	for range rapid.IntRange(0, 3).Draw(rt, "meanwhile") {
		w.flush(rt)
	}
	if rapid.IntRange(0, 4).Draw(rt, "given up") == 0 {
		snap.Release()
		return
	}
	done := w.files.finish(w.t, snap, w.next, w.base, rapid.Bool().Draw(rt, "incremental"))
	got := readAll(w.t, w.b, w.files, done.Handles)
	for _, st := range w.space.States {
		if want := oracleContents(rt, w.oracle, w.next, st.ID); !maps.Equal(got[st.ID], want) {
			rt.Fatalf("checkpoint %d, state %d: %q, want %q", w.next, st.ID, got[st.ID], want)
		}
	}
	if rapid.IntRange(0, 3).Draw(rt, "completed") > 0 {
		w.base = done
	}
}

// restart restores the newest completed checkpoint into a new state.
func (w *world) restart(rt *rapid.T) {
	mustDo(w.t, w.s.Close())
	w.open()
	if w.base == nil {
		w.oracle = newOracle(w.t, w.space)
		return
	}
	mustDo(w.t, w.s.Restore(w.t.Context(), w.files, w.base.Handles))
	mustDo(w.t, w.oracle.Restore(1, w.base.ID))
	w.compare(rt)
}

func newOracle(t testing.TB, space keyed.SpaceConfig) *keyed.Store {
	s := keyed.New()
	mustDo(t, s.Create(1, space))
	return s
}

// TestState_Model drives a state and the store of the memory backend alike.
func TestState_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: t, b: newBackend(t), space: testSpace(), files: newStorage()}
		w.space.States[0].MaxBytes = int64(rapid.SampledFrom([]int{0, 700, 3000}).Draw(rt, "limit"))
		w.space.States[1].MaxBytes = int64(rapid.SampledFrom([]int{0, 200}).Draw(rt, "int limit"))
		w.oracle = newOracle(t, w.space)
		w.open()
		defer func() { mustDo(t, errors.Join(w.s.Close(), w.b.Close())) }()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0:
				w.checkpoint(rt)
			case 1:
				w.restart(rt)
			case 2:
				mustDo(t, w.s.db.Flush())
			case 3:
				mustDo(t, w.s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, true))
			default:
				w.flush(rt)
			}
		}
		w.compare(rt)
	})
}
