package workingcopy

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// model is the store, the attempt around it, and a host, at any distance behind
// it that acknowledgements allow.
type model struct {
	store *Store
	// truth is what the program sees; frames is what it sent, by seq.
	truth  map[string]string
	frames []map[string]*string
	// acked is what the client was told; the host is there or further.
	acked int
	// cut is the truth at the seal that is under way, nil if there is none.
	cut map[string]string
	// cuts is the truth that the host must show behind a frame.
	cuts map[int]map[string]string
}

func cellKey(state, group uint32, key string) string {
	return fmt.Sprintf("%d/%d/%s", state, group, key)
}

// at is the host's state behind frame n.
func (m *model) at(n int) map[string]string {
	state := map[string]string{}
	for _, f := range m.frames[:n] {
		for k, v := range f {
			if v == nil {
				delete(state, k)
			} else {
				state[k] = *v
			}
		}
	}
	return state
}

func (m *model) use(t *rapid.T) *Entry {
	state := rapid.Uint32Range(1, 2).Draw(t, "state")
	group := rapid.Uint32Range(0, 1).Draw(t, "group")
	key := rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "key")
	e := m.store.Table(state).Entry(group, []byte(key))
	if e.Loading() {
		m.get(t)
	}
	if e.Loading() {
		t.Fatal("the entry still waits")
	}
	value, found := e.Value()
	want, there := m.truth[cellKey(state, group, key)]
	if found != there || string(value) != want {
		t.Fatalf("%s is %q, %v, and should be %q, %v", cellKey(state, group, key), value, found, want, there)
	}
	return e
}

// get answers from any state that the host may be in, which for a key that is
// not in the copy must be what the client knew.
func (m *model) get(t *rapid.T) {
	state := m.at(rapid.IntRange(m.acked, len(m.frames)).Draw(t, "answered at"))
	for {
		r := m.store.NextRequest(rapid.IntRange(1, 3).Draw(t, "keys"), 100)
		if r == nil {
			return
		}
		v := &holdfastv1.Values{Last: true}
		for i, sec := range r.Sections() {
			out := &holdfastv1.ValueSection{StateId: sec.GetStateId(), Section: uint32(i)}
			keys := sec.GetKeys()
			for _, n := range sec.GetKeyLengths() {
				value, ok := state[cellKey(sec.GetStateId(), sec.GetKeyGroup(), string(keys[:n]))]
				keys = keys[n:]
				out.Found = append(out.Found, boolByte(ok))
				out.ValueLengths = append(out.ValueLengths, uint32(len(value)))
				out.Values = append(out.Values, value...)
			}
			v.Sections = append(v.Sections, out)
		}
		if err := r.Fill(v); err != nil || !r.Done() {
			t.Fatalf("fill: %v", err)
		}
	}
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// flush sends one frame, or, where a seal is through, its CheckpointReady.
func (m *model) flush(t *rapid.T) {
	seq := len(m.frames) + 1
	limit := rapid.IntRange(1, 30).Draw(t, "bytes")
	f := m.store.NextFrame(uint64(seq), limit)
	if f == nil {
		if m.cut == nil {
			if m.store.Dirty() || m.store.UnflushedBytes() != 0 {
				t.Fatalf("nothing to flush, and %d bytes are dirty", m.store.UnflushedBytes())
			}
			return
		}
		if !m.store.SealDone() {
			t.Fatal("a seal has nothing to flush and is not done")
		}
		m.store.EndSeal()
		m.frames = append(m.frames, nil)
		m.cuts[seq], m.cut = m.cut, nil
		return
	}
	frame := map[string]*string{}
	size := 0
	for _, sec := range f.Sections {
		keys, values := sec.GetKeys(), sec.GetValues()
		for i, op := range sec.GetOps() {
			k := cellKey(sec.GetStateId(), sec.GetKeyGroup(), string(keys[:sec.GetKeyLengths()[i]]))
			keys = keys[sec.GetKeyLengths()[i]:]
			v := string(values[:sec.GetValueLengths()[i]])
			values = values[sec.GetValueLengths()[i]:]
			size += int(sec.GetKeyLengths()[i]) + len(v) + opOverheadBytes
			if _, twice := frame[k]; twice {
				t.Fatalf("%s is in a frame twice", k)
			}
			frame[k] = &v
			if holdfastv1.FlushOp(op) == holdfastv1.FlushOp_FLUSH_OP_DELETE {
				frame[k] = nil
			}
		}
	}
	if size != f.Bytes || size > limit && len(frame) > 1 {
		t.Fatalf("a frame of %d bytes counts %d, and %d are allowed", size, f.Bytes, limit)
	}
	m.frames = append(m.frames, frame)
}

func TestModel_EveryReachableAnswerIsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			store: New(Options{MaxBytes: rapid.IntRange(0, 1500).Draw(t, "max"), CoPartitioned: true}),
			truth: map[string]string{}, cuts: map[int]map[string]string{},
		}
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for range steps {
			m.step(t)
		}
		m.finish(t)
	})
}

func (m *model) step(t *rapid.T) {
	switch rapid.SampledFrom([]string{
		"read", "put", "put", "put", "delete", "flush", "flush", "ack", "evict", "seal", "abort",
	}).Draw(t, "step") {
	case "read":
		m.use(t)
	case "put":
		e := m.use(t)
		v := rapid.SampledFrom([]string{"", "x", "yy", "zzz", "long value"}).Draw(t, "value")
		e.Put([]byte(v))
		m.truth[cellKey(e.table.id, e.group, e.Key())] = v
	case "delete":
		e := m.use(t)
		e.Delete()
		delete(m.truth, cellKey(e.table.id, e.group, e.Key()))
	case "flush":
		m.flush(t)
	case "ack":
		m.acked = rapid.IntRange(m.acked, len(m.frames)).Draw(t, "ack")
		m.store.Ack(uint64(m.acked))
	case "evict":
		m.store.Evict()
	case "seal":
		m.store.Seal()
		m.cut = maps.Clone(m.truth)
	case "abort":
		if m.cut != nil {
			m.store.Dissolve()
			m.cut = nil
		}
	}
}

// finish flushes everything and looks at every cut.
func (m *model) finish(t *rapid.T) {
	for m.cut != nil || m.store.Dirty() {
		m.flush(t)
	}
	for seq, want := range m.cuts {
		if got := m.at(seq); !maps.Equal(got, want) {
			t.Fatalf("behind CheckpointReady %d the host has %v, and the cut was %v", seq, got, want)
		}
	}
	if got := m.at(len(m.frames)); !maps.Equal(got, m.truth) {
		t.Fatalf("in the end the host has %v, and the truth is %v", got, m.truth)
	}
	m.store.Ack(uint64(len(m.frames)))
	m.checkAccounts(t)
}

// checkAccounts compares what is counted with what is there.
func (m *model) checkAccounts(t *rapid.T) {
	bytes := 0
	for _, e := range m.store.clock {
		if e.gen != 0 || e.old != nil || e.cost != 0 || e.loading {
			t.Fatalf("entry %+v is not clean", e)
		}
		bytes += len(e.Key()) + cap(e.value) + entryOverhead
	}
	if m.store.bytes != bytes || m.store.unflushed != 0 || m.store.pendingCount != 0 {
		t.Fatalf("counted %d bytes of %d, %d unflushed, %d pending",
			m.store.bytes, bytes, m.store.unflushed, m.store.pendingCount)
	}
	m.store.maxBytes = 0
	m.store.Evict()
	if len(m.store.clock) != 0 || m.store.bytes != 0 {
		t.Fatalf("%d clean entries of %d bytes were not evicted", len(m.store.clock), m.store.bytes)
	}
}
