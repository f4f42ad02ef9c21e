package rocksdb

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// world is a state of this backend beside the same one in memory, which is the
// oracle: every answer must be the same.
type world struct {
	t      *testing.T
	b      *Backend
	space  keyed.SpaceConfig
	keys   int
	now    int64 // ms
	s      *State
	oracle *keyed.Store
	files  *storage

	opened int
	next   uint64        // checkpoint
	base   *backend.Base // newest completed
}

func (w *world) open() {
	w.opened++
	s, err := w.b.Open(w.t.Context(), backend.Spec{Name: fmt.Sprintf("s-%d", w.opened), Space: w.space})
	mustDo(w.t, err)
	w.s = s.(*State)
}

func (w *world) drawSection(rt *rapid.T) *sectionOf {
	st := &w.space.States[rapid.IntRange(0, len(w.space.States)-1).Draw(rt, "state")]
	sec := section(st.ID)
	for range rapid.IntRange(0, 30).Draw(rt, "ops") {
		key := fmt.Sprintf("k%d", rapid.IntRange(0, w.keys).Draw(rt, "key"))
		op := rapid.SampledFrom(opsOf(st)).Draw(rt, "op")
		sec.op(op, key, drawOperand(rt, st, op))
	}
	return sec
}

func opsOf(st *keyed.StateConfig) []keyed.Op {
	switch {
	case st.Kind == keyed.KindList:
		return []keyed.Op{keyed.OpPut, keyed.OpDelete, keyed.OpAppend, keyed.OpAppend, keyed.OpAppend}
	case st.Kind == keyed.KindMap:
		return []keyed.Op{keyed.OpPut, keyed.OpDelete, keyed.OpMapPut, keyed.OpMapPut, keyed.OpMapPut, keyed.OpMapDelete}
	case st.Type == keyed.TypeOther:
		return []keyed.Op{keyed.OpPut, keyed.OpPut, keyed.OpDelete}
	}
	return []keyed.Op{keyed.OpPut, keyed.OpDelete, keyed.OpAdd, keyed.OpMin, keyed.OpMax}
}

func drawOperand(rt *rapid.T, st *keyed.StateConfig, op keyed.Op) string {
	var b []byte
	switch {
	case op == keyed.OpDelete:
	case st.Kind == keyed.KindList:
		for range rapid.IntRange(0, 3).Draw(rt, "elements") {
			b = statevalue.AppendElement(b, []byte(drawBytes(rt)))
		}
	case st.Kind == keyed.KindMap:
		for k := range byte(4) {
			switch {
			case !rapid.Bool().Draw(rt, "entry"):
			case op == keyed.OpMapDelete:
				b = statevalue.AppendKey(b, []byte{k})
			default:
				b = statevalue.AppendEntry(b, []byte{k}, []byte(drawBytes(rt)))
			}
		}
	case st.Type == keyed.TypeInt64:
		return i64(rapid.Int64().Draw(rt, "int"))
	case st.Type == keyed.TypeFloat64:
		v := rapid.SampledFrom([]float64{0, 1, -1, 0.1, 1e300, 1e-300, 3.3}).Draw(rt, "float")
		return f64(v * float64(rapid.IntRange(-3, 3).Draw(rt, "times")))
	default:
		return drawBytes(rt)
	}
	return string(b)
}

func drawBytes(rt *rapid.T) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(rt, "bytes"))
}

func (w *world) flush(rt *rapid.T) {
	var sections []keyed.Section
	for range rapid.IntRange(0, 3).Draw(rt, "sections") {
		sections = append(sections, w.drawSection(rt).Section)
	}
	w.now += int64(rapid.IntRange(0, 40).Draw(rt, "ms"))
	got, want := w.s.Apply(sections, w.now), w.oracle.Apply(1, sections, w.now)
	if (got == nil) != (want == nil) || want != nil && got.Error() != want.Error() {
		rt.Fatalf("Apply: %v, want %v", got, want)
	}
}

// compare checks every key of the state against the oracle. What is over may be gone
// in one and be there in the other.
func (w *world) compare(rt *rapid.T) {
	for i := range w.space.States {
		st := &w.space.States[i]
		want := w.oracleContents(rt, 0, st)
		if got := w.live(st, contents(w.t, w.s, st.ID)); !maps.Equal(got, want) {
			rt.Fatalf("state %d: %q, want %q", st.ID, got, want)
		}
		bytes := int64(0)
		for key, value := range want {
			bytes += int64(len(key) + len(value))
			if got, ok := getAt(w.t, w.s, st.ID, key, w.now); !ok || got != value {
				rt.Fatalf("state %d, key %s: %q, %v, want %q", st.ID, key, got, ok, value)
			}
		}
		if b, n, err := w.s.Bytes(st.ID); err != nil || st.TTLMs == 0 && (b != bytes || n != int64(len(want))) {
			rt.Fatalf("state %d: %d bytes, %d entries, %v, want %d, %d", st.ID, b, n, err, bytes, len(want))
		}
	}
}

// live returns what is not over.
func (w *world) live(st *keyed.StateConfig, all map[string]string) map[string]string {
	for key, value := range all {
		if live, ok := st.Live(nil, []byte(value), w.now); ok {
			all[key] = string(live)
		} else {
			delete(all, key)
		}
	}
	return all
}

func (w *world) oracleContents(rt *rapid.T, version uint64, st *keyed.StateConfig) map[string]string {
	page, _, done, err := w.oracle.Scan(1, version, st.ID, keyed.Cursor{}, 1<<16, 1<<20)
	if err != nil || !done {
		rt.Fatal(done, err)
	}
	out := map[string]string{}
	keys, values := page.Keys, page.Values
	for i, n := range page.KeyLengths {
		out[string(keys[:n])] = string(values[:page.ValueLengths[i]])
		keys, values = keys[n:], values[page.ValueLengths[i]:]
	}
	return w.live(st, out)
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
	all := readAll(w.t, w.b, w.files, done.Handles)
	for i := range w.space.States {
		st := &w.space.States[i]
		if got, want := w.live(st, all[st.ID]), w.oracleContents(rt, w.next, st); !maps.Equal(got, want) {
			rt.Fatalf("checkpoint %d, state %d: %q, want %q", w.next, st.ID, got, want)
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
		w := &world{t: t, b: newBackend(t), space: testSpace(), files: newStorage(), keys: 40}
		w.space.States[0].MaxBytes = int64(rapid.SampledFrom([]int{0, 700, 3000}).Draw(rt, "limit"))
		w.space.States[1].MaxBytes = int64(rapid.SampledFrom([]int{0, 200}).Draw(rt, "int limit"))
		w.run(rt)
	})
}

// TestState_Kinds is the same with lists, maps and TTL.
func TestState_Kinds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: t, b: newBackend(t), space: testSpace(), files: newStorage(), keys: 10, now: 1000}
		w.space.MaxValueBytes = 500
		w.space.States = []keyed.StateConfig{
			{ID: 1, Kind: keyed.KindList},
			{ID: 2, Kind: keyed.KindMap},
			{ID: 3, Type: keyed.TypeInt64, TTLMs: 100},
			{ID: 4, Kind: keyed.KindList, TTLMs: 100},
			{ID: 5, Kind: keyed.KindMap, TTLMs: 100},
		}
		for i := range w.space.States {
			w.space.States[i].MaxBytes = int64(rapid.SampledFrom([]int{0, 0, 900}).Draw(rt, "limit"))
		}
		w.run(rt)
	})
}

func (w *world) run(rt *rapid.T) {
	var err error
	w.space, err = w.space.Normalize()
	mustDo(w.t, err)
	w.oracle = newOracle(w.t, w.space)
	w.open()
	defer func() { mustDo(w.t, errors.Join(w.s.Close(), w.b.Close())) }()
	for range rapid.IntRange(1, 12).Draw(rt, "steps") {
		switch rapid.IntRange(0, 7).Draw(rt, "step") {
		case 0:
			w.checkpoint(rt)
		case 1:
			w.restart(rt)
		case 2:
			mustDo(w.t, w.s.db.Flush())
		case 3:
			mustDo(w.t, w.s.db.Compact(w.t.Context(), []byte{0}, []byte{0xff}, true))
		case 4:
			if w.s.lengths {
				mustDo(w.t, w.s.do("look", w.s.lookAgain))
			}
		default:
			w.flush(rt)
		}
	}
	w.compare(rt)
}
