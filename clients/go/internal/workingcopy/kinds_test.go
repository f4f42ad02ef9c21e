package workingcopy

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const hourMs = 3_600_000

// kindRules are the tables of the model: each kind blind and not, with a TTL (so long
// that nothing is over) and without.
var kindRules = map[uint32]Rules{
	1: {State: statevalue.State{Kind: statevalue.List}, Op: statevalue.OpAppend, Blind: true},
	2: {State: statevalue.State{Kind: statevalue.List, TTLMs: hourMs}, Op: statevalue.OpAppend, Blind: true},
	3: {State: statevalue.State{Kind: statevalue.Map}, Blind: true},
	4: {State: statevalue.State{Kind: statevalue.Map, TTLMs: hourMs}, Blind: true},
	5: {State: statevalue.State{Type: statevalue.Int64}, Op: statevalue.OpAdd, Blind: true},
	6: {State: statevalue.State{Type: statevalue.Int64, TTLMs: hourMs}, Op: statevalue.OpAdd, Blind: true},
	7: {State: statevalue.State{TTLMs: hourMs}},
	8: {State: statevalue.State{Kind: statevalue.Map}},
}

type hostOp struct {
	cell    string
	state   uint32
	op      statevalue.Op
	operand []byte
}

// kindModel is model for tables with rules: the truth is what text a program sees.
type kindModel struct {
	store  *Store
	truth  map[string]string
	frames [][]hostOp
	acked  int
	cut    map[string]string
	cuts   map[int]map[string]string
}

// at is the stored values of the host behind frame n.
func (m *kindModel) at(t *rapid.T, n int) map[string][]byte {
	state := map[string][]byte{}
	for _, f := range m.frames[:n] {
		for _, o := range f {
			s := kindRules[o.state].State
			if _, err := s.CheckOperand(o.op, o.operand); err != nil {
				t.Fatalf("%s: op %d with %x: %v", o.cell, o.op, o.operand, err)
			}
			old, found := state[o.cell]
			value, kept, err := s.Combine(nil, o.op, old, found, o.operand, m.store.Now())
			if err != nil {
				t.Fatalf("%s: %v", o.cell, err)
			}
			if delete(state, o.cell); kept {
				state[o.cell] = value
			}
		}
	}
	return state
}

// texts shows stored values as the program sees them.
func texts(t *rapid.T, state map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range state {
		var id uint32
		if _, err := fmt.Sscanf(k, "%d/", &id); err != nil {
			t.Fatal(err)
		}
		s := kindRules[id].State
		if err := s.CheckStored(v); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
		var parts []string
		for list := v; len(list) > 0 && s.Kind == statevalue.List; {
			e, rest, _ := statevalue.NextElement(list, s.TTLMs > 0)
			parts, list = append(parts, string(e.Value)), rest
		}
		for list := v; len(list) > 0 && s.Kind == statevalue.Map; {
			e, rest, _ := statevalue.NextEntry(list, s.TTLMs > 0)
			parts, list = append(parts, string(e.Key)+"="+string(e.Value)), rest
		}
		if s.Kind == statevalue.Value {
			if s.TTLMs > 0 {
				v = v[statevalue.TimeBytes:]
			}
			parts = []string{string(v)}
		}
		out[k] = strings.Join(parts, ",")
	}
	return out
}

func (m *kindModel) entry(t *rapid.T) *Entry {
	state := rapid.Uint32Range(1, uint32(len(kindRules))).Draw(t, "state")
	e := m.store.Table(state).Entry(0, []byte(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key")))
	if !m.store.byID[state].blind {
		m.fetch(t)
	}
	return e
}

func (m *kindModel) cell(e *Entry) string { return cellKey(e.table.id, 0, e.Key()) }

// fetch is what the attempt does: ask, and wait for acknowledgements where that must
// come first.
func (m *kindModel) fetch(t *rapid.T) {
	for {
		r := m.store.NextRequest(rapid.IntRange(1, 3).Draw(t, "keys"), 100)
		if r == nil && !m.store.Waiting() {
			return
		}
		if r == nil {
			if m.acked == len(m.frames) {
				t.Fatal("keys wait for an acknowledgement, and nothing is in flight")
			}
			m.ack(t)
			continue
		}
		if rapid.Bool().Draw(t, "flush meanwhile") {
			m.flush(t)
		}
		state := m.at(t, rapid.IntRange(m.acked, len(m.frames)).Draw(t, "answered at"))
		v := &holdfastv1.Values{Last: true}
		for i, sec := range r.Sections() {
			out := &holdfastv1.ValueSection{StateId: sec.GetStateId(), Section: uint32(i)}
			keys := sec.GetKeys()
			for _, n := range sec.GetKeyLengths() {
				value, ok := state[cellKey(sec.GetStateId(), 0, string(keys[:n]))]
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

func (m *kindModel) ack(t *rapid.T) {
	m.acked = rapid.IntRange(min(m.acked+1, len(m.frames)), len(m.frames)).Draw(t, "ack")
	m.store.Ack(uint64(m.acked))
}

func (m *kindModel) flush(t *rapid.T) {
	seq := len(m.frames) + 1
	limit := rapid.IntRange(1, 60).Draw(t, "bytes")
	f := m.store.NextFrame(uint64(seq), limit)
	if f == nil {
		if m.cut != nil && m.store.SealDone() {
			m.store.EndSeal()
			m.frames = append(m.frames, nil)
			m.cuts[seq], m.cut = m.cut, nil
		}
		return
	}
	var frame []hostOp
	size := 0
	for _, sec := range f.Sections {
		keys, values := sec.GetKeys(), sec.GetValues()
		for i, op := range sec.GetOps() {
			key, value := keys[:sec.GetKeyLengths()[i]], values[:sec.GetValueLengths()[i]]
			keys, values = keys[len(key):], values[len(value):]
			size += len(key) + len(value) + opOverheadBytes
			frame = append(frame, hostOp{cellKey(sec.GetStateId(), 0, string(key)), sec.GetStateId(), op, slices.Clone(value)})
		}
	}
	if size != f.Bytes || size > limit && len(frame) > 1 {
		t.Fatalf("a frame of %d bytes counts %d, and %d are allowed", size, f.Bytes, limit)
	}
	m.frames = append(m.frames, frame)
}

// read makes the entry known and compares it with the truth.
func (m *kindModel) read(t *rapid.T, e *Entry) {
	e.Want()
	m.fetch(t)
	if !e.Known() {
		t.Fatal("the entry is not known")
	}
	var parts []string
	found := e.found
	switch kindRules[e.table.id].State.Kind {
	case statevalue.List:
		if err := e.Elements(func(b []byte) error { parts = append(parts, string(b)); return nil }); err != nil {
			t.Fatal(err)
		}
	case statevalue.Map:
		for _, key := range e.MapKeys() {
			value, _ := e.MapGet(key)
			parts = append(parts, key+"="+string(value))
		}
		found = len(parts) > 0
	default:
		value, ok, err := e.Read()
		if err != nil {
			t.Fatal(err)
		}
		parts, found = []string{string(value)}, ok
	}
	want, there := m.truth[m.cell(e)]
	if got := strings.Join(parts, ","); found != there || found && got != want {
		t.Fatalf("%s is %q, %v, and should be %q, %v", m.cell(e), got, found, want, there)
	}
}

func number(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// change does one operation to the copy and the truth.
func (m *kindModel) change(t *rapid.T, e *Entry) {
	k, s := m.cell(e), kindRules[e.table.id].State
	old, there := m.truth[k]
	text := rapid.SampledFrom([]string{"x", "yy", "long value"}).Draw(t, "value")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	clears := rapid.IntRange(0, 5).Draw(t, "clear") == 0
	switch {
	case clears && s.Kind == statevalue.Map:
		e.MapClear()
		delete(m.truth, k)
	case clears:
		must(e.Apply(statevalue.OpDelete, nil))
		delete(m.truth, k)
	case s.Kind == statevalue.List && rapid.IntRange(0, 3).Draw(t, "update") == 0:
		must(e.Apply(statevalue.OpPut, statevalue.AppendElement(nil, []byte(text))))
		m.truth[k] = text
	case s.Kind == statevalue.List:
		must(e.Apply(statevalue.OpAppend, statevalue.AppendElement(nil, []byte(text))))
		if there {
			text = old + "," + text
		}
		m.truth[k] = text
	case s.Kind == statevalue.Map:
		m.changeMap(t, e, text)
	case s.Type == statevalue.Int64:
		n := int64(rapid.IntRange(-5, 5).Draw(t, "n"))
		must(e.Apply(statevalue.OpAdd, number(n)))
		if there {
			n += int64(binary.LittleEndian.Uint64([]byte(old)))
		}
		m.truth[k] = string(number(n))
	default:
		must(e.Apply(statevalue.OpPut, []byte(text)))
		m.truth[k] = text
	}
}

func (m *kindModel) changeMap(t *rapid.T, e *Entry, text string) {
	k := m.cell(e)
	cells := map[string]string{}
	for _, part := range strings.Split(m.truth[k], ",") {
		if key, value, ok := strings.Cut(part, "="); ok {
			cells[key] = value
		}
	}
	key := rapid.SampledFrom([]string{"", "k", "kk", "l"}).Draw(t, "map key")
	if e.MapKnows(key) {
		value, found := e.MapGet(key)
		if want, there := cells[key]; found != there || found && string(value) != want {
			t.Fatalf("%s[%q] is %q, %v, and should be %q, %v", k, key, value, found, want, there)
		}
	}
	if rapid.Bool().Draw(t, "remove") {
		e.MapRemove(key)
		delete(cells, key)
	} else {
		e.MapPut(key, []byte(text))
		cells[key] = text
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(cells)) {
		parts = append(parts, key+"="+cells[key])
	}
	if delete(m.truth, k); len(parts) > 0 {
		m.truth[k] = strings.Join(parts, ",")
	}
}

func TestKinds_EveryReachableAnswerIsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &kindModel{
			store: New(Options{MaxBytes: rapid.IntRange(0, 3000).Draw(t, "max")}),
			truth: map[string]string{}, cuts: map[int]map[string]string{},
		}
		for id, r := range kindRules {
			m.store.Table(id).SetRules(r)
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			m.step(t)
		}
		m.finish(t)
	})
}

func (m *kindModel) step(t *rapid.T) {
	switch rapid.SampledFrom([]string{"read", "change", "change", "change", "change", "flush", "flush", "ack", "evict", "seal", "abort"}).Draw(t, "step") {
	case "read":
		m.read(t, m.entry(t))
	case "change":
		m.change(t, m.entry(t))
	case "flush":
		m.flush(t)
	case "ack":
		m.ack(t)
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

func (m *kindModel) finish(t *rapid.T) {
	for m.cut != nil || m.store.Dirty() {
		m.flush(t)
	}
	for seq, want := range m.cuts {
		if got := texts(t, m.at(t, seq)); !maps.Equal(got, want) {
			t.Fatalf("behind CheckpointReady %d the host has %q, and the cut was %q", seq, got, want)
		}
	}
	if got := texts(t, m.at(t, len(m.frames))); !maps.Equal(got, m.truth) {
		t.Fatalf("in the end the host has %q, and the truth is %q", got, m.truth)
	}
	m.store.Ack(uint64(len(m.frames)))
	bytes := 0
	for _, e := range m.store.clock {
		if e.gen != 0 || e.old != nil || e.cost != 0 || e.loading || e.detail.pending.size() != 0 {
			t.Fatalf("entry %+v is not clean", e)
		}
		bytes += len(e.Key()) + e.detail.counted + entryOverhead
	}
	if m.store.bytes != bytes || m.store.unflushed != 0 || m.store.pendingCount != 0 {
		t.Fatalf("counted %d bytes of %d, %d unflushed, %d pending", m.store.bytes, bytes, m.store.unflushed, m.store.pendingCount)
	}
	m.store.maxBytes = 0
	m.store.Evict()
	if len(m.store.clock) != 0 || m.store.bytes != 0 {
		t.Fatalf("%d clean entries of %d bytes were not evicted", len(m.store.clock), m.store.bytes)
	}
}
