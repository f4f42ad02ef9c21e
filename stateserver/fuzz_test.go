package stateserver

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// fuzzShapes are a subtask by hash and one by partition, with the keyed state
// that a node would have for them.
func fuzzShapes(tb testing.TB) (stores map[*holdfastv1.Assign]*keyed.Store, kinds []keyed.StateConfig) {
	tb.Helper()
	ids := []*holdfastv1.StateId{{Id: 1}, {Id: 2}, {Id: 3}, {Id: 4}}
	kinds = []keyed.StateConfig{
		{ID: 1, MaxBytes: 1 << 10}, {ID: 2, Type: keyed.TypeInt64}, {ID: 3, Kind: keyed.KindList}, {ID: 4, Kind: keyed.KindMap, TTLMs: 1},
	}
	splits := []*holdfastv1.Split{{Topic: "t", Partition: 2}, {Topic: "t", Partition: 3}}
	stores = map[*holdfastv1.Assign]*keyed.Store{}
	for _, a := range []*holdfastv1.Assign{
		{StateIds: ids, Splits: splits, KeyGroupEnd: 8},
		{StateIds: ids, Splits: splits, KeyGroupStart: 2, KeyGroupEnd: 4, CoPartitioned: true},
	} {
		s := keyed.New()
		if err := s.Create(1, keyed.SpaceConfig{
			Start: a.KeyGroupStart, End: a.KeyGroupEnd, NumGroups: 8, CoPartitioned: a.CoPartitioned,
			States: kinds,
		}); err != nil {
			tb.Fatal(err)
		}
		stores[a] = s
	}
	return stores, kinds
}

// FuzzOperatorMessage takes any bytes as a frame of an operator. No frame makes
// a check fall over; what the checks let through, the keyed state understands,
// so that no malformed frame reaches the log (invariant 13).
func FuzzOperatorMessage(f *testing.F) {
	get := &holdfastv1.Get{RequestId: 1, Sections: []*holdfastv1.KeySection{{StateId: 1, KeyLengths: []uint32{1, 2}, Keys: []byte("abb")}}}
	byPartition := section("a", "b")
	byPartition.KeyGroup = proto.Uint32(3)
	number := &holdfastv1.FlushSection{StateId: 2, Ops: []byte{3}, KeyLengths: []uint32{1}, Keys: []byte("k"), ValueLengths: []uint32{8}, Values: make([]byte, 8)}
	list := &holdfastv1.FlushSection{StateId: 3, Ops: []byte{6, 1}, KeyLengths: []uint32{1, 1}, Keys: []byte("kl"), ValueLengths: []uint32{5, 4}, Values: []byte("\x01\x00\x00\x00a\x00\x00\x00\x00")}
	entries := &holdfastv1.FlushSection{StateId: 4, Ops: []byte{7, 8}, KeyLengths: []uint32{1, 1}, Keys: []byte("kl"), ValueLengths: []uint32{9, 5}, Values: []byte("\x01\x00\x00\x00a\x00\x00\x00\x00\x01\x00\x00\x00a")}
	at := []*holdfastv1.Position{{Topic: "t", Partition: 2, NextOffset: 5}, {Topic: "t", Partition: 3}}
	for _, m := range []*holdfastv1.OperatorMessage{
		{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{Seq: 1, Sections: []*holdfastv1.FlushSection{section("a", "bb"), number}}}},
		{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{Seq: 1, Sections: []*holdfastv1.FlushSection{list, entries}}}},
		{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{Seq: 1, Sections: []*holdfastv1.FlushSection{byPartition}}}},
		{Message: &holdfastv1.OperatorMessage_Get{Get: get}},
		{Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: &holdfastv1.CheckpointReady{Seq: 1, CheckpointId: 1, Positions: at}}},
		{Message: &holdfastv1.OperatorMessage_Finished{Finished: &holdfastv1.Finished{Positions: at[:1]}}},
		{Message: &holdfastv1.OperatorMessage_Failed{Failed: &holdfastv1.Failed{Error: &holdfastv1.Error{Message: "é", Metadata: map[string]string{"stack": "x"}}}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &holdfastv1.OperatorMessage{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		stores, kinds := fuzzShapes(t)
		for a, store := range stores {
			checkFrame(t, shapeOf(a).with(keyed.SpaceConfig{States: kinds}), store, m)
		}
	})
}

func checkFrame(t *testing.T, s shape, store *keyed.Store, m *holdfastv1.OperatorMessage) {
	t.Helper()
	switch x := m.Message.(type) {
	case *holdfastv1.OperatorMessage_Flush:
		if x.Flush == nil {
			return
		}
		if _, e := s.checkFlush(x.Flush, limits()); e == nil {
			mustApply(t, store, x.Flush)
		}
	case *holdfastv1.OperatorMessage_Get:
		if s.checkGet(x.Get, limits()) != nil {
			return
		}
		for _, sec := range x.Get.GetSections() {
			group := int64(keyed.ByHash)
			if sec.KeyGroup != nil {
				group = int64(*sec.KeyGroup)
			}
			vals := &keyed.Values{MaxBytes: 100}
			if err := store.Get(1, 0, sec.StateId, group, sec.KeyLengths, sec.Keys, vals); err != nil {
				t.Fatalf("%v was let through: %v", sec, err)
			}
		}
	case *holdfastv1.OperatorMessage_CheckpointReady:
		if s.checkPositions("CheckpointReady", x.CheckpointReady.GetPositions()) == nil && len(x.CheckpointReady.GetPositions()) != len(s.splits) {
			t.Fatalf("positions %v for splits %v", x.CheckpointReady.GetPositions(), s.splits)
		}
	case *holdfastv1.OperatorMessage_Finished:
		_ = s.checkPositions("Finished", x.Finished.GetPositions())
	case *holdfastv1.OperatorMessage_Failed:
		e := clip(x.Failed.GetError())
		if n := proto.Size(e); n > raftstore.MaxPayload-commandOverheadBytes || !utf8.ValidString(e.GetMessage()) {
			t.Fatalf("an error of %d bytes is kept as %d bytes, message %q", proto.Size(x.Failed.GetError()), n, e.GetMessage())
		}
	}
}

// mustApply gives a flush that was let through to the keyed state, which may
// refuse what it holds and how much of it, and nothing of its form.
func mustApply(t *testing.T, store *keyed.Store, f *holdfastv1.Flush) {
	t.Helper()
	cmd := &internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
		SubtaskId: 1 << 40, FencingToken: 1 << 40, Seq: f.Seq, Sections: f.Sections}}}
	if n := proto.Size(cmd); n > raftstore.MaxPayload {
		t.Fatalf("a flush that was let through makes a command of %d bytes", n)
	}
	var sections []keyed.Section
	for _, sec := range f.Sections {
		sections = append(sections, raftstore.KeyedSection(sec))
	}
	before := store.Hash()
	err := store.Apply(1, sections, 0)
	switch {
	case err == nil:
	case errors.Is(err, keyed.ErrTypeMismatch), errors.Is(err, keyed.ErrStateTooLarge), errors.Is(err, keyed.ErrValueTooLarge):
		if store.Hash() != before {
			t.Fatalf("%v was refused and changed the state", f)
		}
	default:
		t.Fatalf("%v was let through: %v", f, err)
	}
}

// FuzzPageToken takes any page token: it is refused, or means what it says.
func FuzzPageToken(f *testing.F) {
	f.Add(scanCursor{3, keyed.Cursor{KeyGroup: 7, AfterKey: true, Key: []byte("k")}}.token())
	f.Add(scanCursor{}.token())
	f.Add([]byte{cursorVersion, 0x80, 0x00, 1, 1})
	f.Fuzz(func(t *testing.T, token []byte) {
		c, err := parseCursor(token)
		if err != nil {
			return
		}
		again, err := parseCursor(c.token())
		if err != nil || again.subtask != c.subtask || again.at.KeyGroup != c.at.KeyGroup || again.at.AfterKey != c.at.AfterKey ||
			c.at.AfterKey && !bytes.Equal(again.at.Key, c.at.Key) {
			t.Fatalf("%x is %+v, and then %+v, %v", token, c, again, err)
		}
		stores, _ := fuzzShapes(t)
		for _, s := range stores {
			_, _, _, _ = s.Scan(1, 0, 1, c.at, 10, 100)
		}
	})
}
