package stateserver

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

func section(keys ...string) *holdfastv1.FlushSection {
	s := &holdfastv1.FlushSection{StateId: 1}
	for _, k := range keys {
		s.Ops = append(s.Ops, byte(holdfastv1.FlushOp_FLUSH_OP_PUT))
		s.KeyLengths = append(s.KeyLengths, uint32(len(k)))
		s.Keys = append(s.Keys, k...)
		s.ValueLengths = append(s.ValueLengths, 1)
		s.Values = append(s.Values, 'v')
	}
	return s
}

// Invariant 13: each malformed flush is named by its place.
func TestCheckFlush(t *testing.T) {
	plain := shapeOf(&holdfastv1.Assign{StateIds: []*holdfastv1.StateId{{Id: 1}}})
	byPartition := shapeOf(&holdfastv1.Assign{StateIds: []*holdfastv1.StateId{{Id: 1}}, CoPartitioned: true, KeyGroupStart: 2, KeyGroupEnd: 4})
	list := plain.with(keyed.SpaceConfig{States: []keyed.StateConfig{{ID: 1, Kind: keyed.KindList}}})
	maps := plain.with(keyed.SpaceConfig{States: []keyed.StateConfig{{ID: 1, Kind: keyed.KindMap}}})
	value := func(op byte, v string) func(*holdfastv1.FlushSection) {
		return func(s *holdfastv1.FlushSection) {
			s.Ops[1], s.ValueLengths, s.Values = op, []uint32{0, uint32(len(v))}, []byte(v)
		}
	}
	cases := map[string]struct {
		shape  shape
		change func(*holdfastv1.FlushSection)
		want   string
	}{
		"list":              {list, value(6, "\x01\x00\x00\x00a"), ""},
		"list cut":          {list, value(6, "\x01\x00\x00\x00"), "operation 1: keyed: malformed input: state 1: element 0"},
		"put of a cut list": {list, value(1, "abc"), "rule 5.9"},
		"map twice a key":   {maps, value(7, strings.Repeat("\x01\x00\x00\x00a\x00\x00\x00\x00", 2)), "its key does not follow the one before"},
		"fine":              {plain, func(*holdfastv1.FlushSection) {}, ""},
		"fine by partition": {byPartition, func(s *holdfastv1.FlushSection) { s.KeyGroup = proto.Uint32(3) }, ""},
		"state":             {plain, func(s *holdfastv1.FlushSection) { s.StateId = 7 }, "Flush seq 5, section 0: unknown state id 7"},
		"group set":         {plain, func(s *holdfastv1.FlushSection) { s.KeyGroup = proto.Uint32(0) }, "key_group is set"},
		"group missing":     {byPartition, func(*holdfastv1.FlushSection) {}, "key_group is missing"},
		"group of another":  {byPartition, func(s *holdfastv1.FlushSection) { s.KeyGroup = proto.Uint32(4) }, "key group 4 is not of this subtask, which has [2, 4)"},
		"op 0":              {plain, func(s *holdfastv1.FlushSection) { s.Ops[1] = 0 }, "operation 1 has the unknown op 0"},
		"op 99":             {plain, func(s *holdfastv1.FlushSection) { s.Ops[0] = 99 }, "operation 0 has the unknown op 99"},
		"columns":           {plain, func(s *holdfastv1.FlushSection) { s.Ops = s.Ops[:1] }, "1 ops, 2 keys and 2 values"},
		"key lengths":       {plain, func(s *holdfastv1.FlushSection) { s.KeyLengths[0]++ }, "the key lengths add up to 3, and there are 2 bytes"},
		"value lengths":     {plain, func(s *holdfastv1.FlushSection) { s.Values = nil }, "the value lengths add up to 2, and there are 0 bytes"},
		"long key":          {plain, func(s *holdfastv1.FlushSection) { s.KeyLengths[1] = 5 << 10 }, "key 1 has 5120 bytes, at most 4096 are allowed"},
		"lengths wrap":      {plain, func(s *holdfastv1.FlushSection) { s.ValueLengths[0], s.ValueLengths[1] = 1<<32-1, 3 }, "value 0 has 4294967295 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := section("a", "b")
			c.change(s)
			_, e := c.shape.checkFlush(&holdfastv1.Flush{Seq: 5, Sections: []*holdfastv1.FlushSection{s}}, limits())
			if c.want == "" && e != nil || !strings.Contains(e.GetMessage(), c.want) {
				t.Fatalf("got %v, want %q", e, c.want)
			}
		})
	}
}

// A flush within the limit always fits in a command, whatever its shape.
func TestCheckFlush_LimitFitsACommand(t *testing.T) {
	s := shapeOf(&holdfastv1.Assign{StateIds: []*holdfastv1.StateId{{Id: 1}}})
	tiny := section()
	for len(tiny.Ops)*(opOverheadBytes+2) < int(limits().FlushBytes)-16 {
		tiny.Ops = append(tiny.Ops, 1)
		tiny.KeyLengths = append(tiny.KeyLengths, 1)
		tiny.Keys = append(tiny.Keys, 'k')
		tiny.ValueLengths = append(tiny.ValueLengths, 1)
		tiny.Values = append(tiny.Values, 'v')
	}
	f := &holdfastv1.Flush{Seq: 1, Sections: []*holdfastv1.FlushSection{tiny}}
	if _, e := s.checkFlush(f, limits()); e != nil {
		t.Fatal(e)
	}
	tiny.Keys = append(tiny.Keys, make([]byte, 4096)...)
	tiny.KeyLengths = append(tiny.KeyLengths, 4096)
	tiny.Ops, tiny.ValueLengths = append(tiny.Ops, 1), append(tiny.ValueLengths, 0)
	if _, e := s.checkFlush(f, limits()); e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE {
		t.Fatalf("a flush above its limit gave %v", e)
	}
}

// A scan's cursor comes back as it was; garbage is refused.
func TestScanCursor(t *testing.T) {
	for _, tok := range [][]byte{{9}, {1}, {1, 0x80}, {1, 0, 0x80}, {1, 0, 0}, {1, 0, 0, 7}, {1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}} {
		if _, err := parseCursor(tok); err == nil {
			t.Errorf("token %x was taken", tok)
		}
	}
	c := scanCursor{subtask: 3}
	c.at.KeyGroup, c.at.AfterKey, c.at.Key = 77, true, []byte("k")
	got, err := parseCursor(c.token())
	if err != nil || got.subtask != 3 || got.at.KeyGroup != 77 || !got.at.AfterKey || string(got.at.Key) != "k" {
		t.Fatalf("%v %v", got, err)
	}
}
