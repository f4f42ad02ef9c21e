package stateserver

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// Contents of any size arrive whole, in messages that a client takes.
func TestRestoredMessages_AreTheContents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var states []*holdfastv1.OperatorState
		want := map[string][]byte{}
		for i := range r.IntN(5) {
			name := string(rune('a' + i))
			content := bytes.Repeat([]byte{byte(i)}, r.IntN(2)*r.IntN(3*restoredBytes)+r.IntN(100))
			states, want[name] = append(states, &holdfastv1.OperatorState{OperatorUid: "op", StateName: name, Content: content}), content
		}
		got := map[string][]byte{}
		for _, m := range restoredMessages(7, states) {
			if n := proto.Size(m); n > maxMessageBytes/2 || len(m.States) == 0 || m.FencingToken != 7 {
				t.Fatalf("a message of %d bytes with %d states", n, len(m.States))
			}
			for _, s := range m.States {
				got[s.StateName] = append(got[s.StateName], s.Content...)
			}
		}
		for name, content := range want {
			if !bytes.Equal(got[name], content) {
				t.Fatalf("state %s has %d bytes, want %d", name, len(got[name]), len(content))
			}
		}
	}
}

// keeper is a session whose subtask has an operator state.
func keeper(limit uint32) *session {
	return &session{limits: &holdfastv1.Limits{OperatorStateBytes: limit}, hold: held{shape: shape{operatorStates: []coordinator.DeclaredOperatorState{{
		OperatorUID: "op", Descriptor: &holdfastv1.OperatorStateDescriptor{Name: "list", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION, Type: "int64"},
	}}}}}
}

func TestTakeOperatorState(t *testing.T) {
	list := func(n int) []*holdfastv1.OperatorState {
		var content []byte
		for range n {
			content = statevalue.AppendElement(content, make([]byte, 8))
		}
		return []*holdfastv1.OperatorState{{OperatorUid: "op", StateName: "list", Content: content}}
	}
	x := keeper(24)
	if p, e := x.takeOperatorState("CheckpointReady", list(2), nil); e != nil || p.declined != nil || len(p.handles()) != 1 || p.handles()[0].Size != p.size() {
		t.Errorf("what fits: %v, %v", p, e)
	}
	// A client that did not look is declined by the host.
	if p, e := x.takeOperatorState("CheckpointReady", list(3), nil); e != nil || p.packed != nil ||
		p.declined.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE || !strings.Contains(p.declined.Message, "36 bytes, at most 24 are allowed") {
		t.Errorf("what does not fit: %v, %v", p, e)
	}
	said := coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, "not now")
	if p, e := x.takeOperatorState("CheckpointReady", nil, said); e != nil || p.handles() != nil || p.declined.GetMessage() != "not now" {
		t.Errorf("what is declined: %v, %v", p, e)
	}
	for want, states := range map[string][]*holdfastv1.OperatorState{
		"is missing":                             nil,
		"wrong size":                             {{OperatorUid: "op", StateName: "list", Content: []byte{1, 0, 0, 0, 7}}},
		"no operator state":                      append(list(1), &holdfastv1.OperatorState{OperatorUid: "other", StateName: "list"}),
		"malformed: a length":                    {{OperatorUid: "op", StateName: "list", Content: []byte{9, 0, 0, 0, 7}}},
		`"list" of operator "op" is there twice`: append(list(1), list(1)...),
	} {
		_, e := x.takeOperatorState("CheckpointReady", states, nil)
		if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION || !strings.Contains(e.GetMessage(), want) || !strings.Contains(e.GetMessage(), "6.9") {
			t.Errorf("want %q: %v", want, e)
		}
	}
	x.hold.shape.operatorStates = nil
	if p, e := x.takeOperatorState("Finished", nil, nil); e != nil || p.packed != nil || p.handles() != nil {
		t.Errorf("a job without any: %v, %v", p, e)
	}
}

// An entry of the log never passes its bound, whatever the names and positions take.
func TestOperatorState_ReadyFitsAnEntry(t *testing.T) {
	r := &internalv1.Ready{}
	operatorStatePart{packed: make([]byte, coordinator.MaxOperatorStateInLog)}.putInto(r)
	if r.Declined != nil || len(r.Handles) != 1 {
		t.Fatalf("what the bound allows is declined: %v", r.Declined)
	}
	for i := range 10_000 {
		r.Positions = append(r.Positions, &holdfastv1.Position{Topic: "a topic", Partition: uint32(i), NextOffset: 1 << 50})
	}
	operatorStatePart{packed: make([]byte, coordinator.MaxOperatorStateInLog)}.putInto(r)
	if r.Declined.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE || len(r.Handles) != 0 || proto.Size(r) > raftstore.MaxPayload {
		t.Fatalf("an entry of %d bytes: %v", proto.Size(r), r.Declined)
	}
}
