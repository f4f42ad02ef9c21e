package stateserver

import (
	"bytes"
	"context"
	"log/slog"
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

// listOf is the operator state of n elements of 12 bytes.
func listOf(n int) []*holdfastv1.OperatorState {
	var content []byte
	for range n {
		content = statevalue.AppendElement(content, make([]byte, 8))
	}
	return []*holdfastv1.OperatorState{{OperatorUid: "op", StateName: "list", Content: content}}
}

func TestTakeOperatorState(t *testing.T) {
	x := keeper(24)
	if p, e := x.takeOperatorState("CheckpointReady", listOf(2), nil); e != nil || p.declined != nil || len(p.handles()) != 1 || p.handles()[0].Size != p.size() {
		t.Errorf("what fits: %v, %v", p, e)
	}
	// A client that did not look is declined by the host.
	if p, e := x.takeOperatorState("CheckpointReady", listOf(3), nil); e != nil || p.packed != nil ||
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
		"no operator state":                      append(listOf(1), &holdfastv1.OperatorState{OperatorUid: "other", StateName: "list"}),
		"malformed: a length":                    {{OperatorUid: "op", StateName: "list", Content: []byte{9, 0, 0, 0, 7}}},
		`"list" of operator "op" is there twice`: append(listOf(1), listOf(1)...),
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

// finishing is a session with an attempt that is at its end, and what it proposes.
func finishing(t *testing.T) (*session, func() []*internalv1.Command) {
	x := keeper(coordinator.MaxOperatorStateInLog)
	x.limits = limits()
	x.s = &Server{ctx: t.Context(), clock: newSteadyClock(nil), fwd: newForwarder(nil, nil, nil)}
	x.ctx, x.cancel = context.WithCancelCause(t.Context())
	x.log, x.out = slog.New(slog.DiscardHandler), make(chan *holdfastv1.HostMessage, 8)
	ctx, cancel := context.WithCancel(x.ctx)
	x.hold.shape.splits = map[splitID]bool{}
	x.hold.subtask, x.hold.token, x.hold.nextSeq, x.hold.ctx, x.hold.cancel = 3, 7, 1, ctx, cancel
	return x, func() (out []*internalv1.Command) {
		x.s.fwd.mu.Lock()
		defer x.s.fwd.mu.Unlock()
		for e := x.s.fwd.order.Front(); e != nil; e = e.Next() {
			c := &internalv1.Command{}
			if err := proto.Unmarshal(e.Value.(*proposal).command, c); err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
}

// wantRefused: the client is told, the stream goes on, and the log is told that the
// attempt has failed.
func wantRefused(t *testing.T, x *session, proposed []*internalv1.Command, text string) {
	t.Helper()
	if x.ctx.Err() != nil || x.hold.subtask != 0 || len(x.out) != 1 || len(proposed) != 1 {
		t.Fatalf("the stream: %v; it holds %d; %d messages; proposed: %v", context.Cause(x.ctx), x.hold.subtask, len(x.out), proposed)
	}
	r, f := (<-x.out).GetRefused(), proposed[0].GetFailSubtask()
	if r.GetSeq() != 1 || r.GetFencingToken() != 7 || f.GetFencingToken() != 7 || f.GetSubtaskId() != 3 || !proto.Equal(r.GetError(), f.GetError()) ||
		f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE || !strings.Contains(f.GetError().GetMessage(), text) {
		t.Fatalf("told: %v\nproposed: %v", r, f)
	}
}

// Operator state takes room in the window; what is alone there may be of any size.
func TestReady_CountsInTheWindow(t *testing.T) {
	x, proposed := finishing(t)
	x.limits.FlushBytesInFlight = 23
	x.onReady(&holdfastv1.CheckpointReady{FencingToken: 7, Seq: 1, CheckpointId: 1, OperatorStates: listOf(2)})
	x.hold.flying.ackThrough(1)
	x.onReady(&holdfastv1.CheckpointReady{FencingToken: 7, Seq: 2, CheckpointId: 2, OperatorStates: listOf(1)})
	if x.ctx.Err() != nil || x.hold.flying.bytes != 12 || len(proposed()) != 2 {
		t.Fatalf("%d bytes in flight, %d proposed: %v", x.hold.flying.bytes, len(proposed()), context.Cause(x.ctx))
	}
	x.onFinished(&holdfastv1.Finished{FencingToken: 7, Seq: 3, OperatorStates: listOf(1)})
	if e := context.Cause(x.ctx); e == nil || !strings.Contains(e.Error(), "1 frames with 12 bytes are in flight already") || x.hold.nextSeq != 3 {
		t.Fatalf("beyond the window: %v, next is seq %d", e, x.hold.nextSeq)
	}
}

// A Finished that no entry can have ends its attempt, and not stream after stream.
func TestFinished_TooLarge(t *testing.T) {
	const most = coordinator.MaxOperatorStateInLog / 12
	x, proposed := finishing(t)
	x.onFinished(&holdfastv1.Finished{FencingToken: 7, Seq: 1, OperatorStates: listOf(most + 1)})
	wantRefused(t, x, proposed(), "at most 131072 are allowed")

	x, proposed = finishing(t)
	end := &holdfastv1.Finished{FencingToken: 7, Seq: 1, OperatorStates: listOf(most)}
	for i := range 1000 {
		s := splitID{strings.Repeat("t", 128), uint32(i)}
		x.hold.shape.splits[s] = true
		end.Positions = append(end.Positions, &holdfastv1.Position{Topic: s.topic, Partition: s.partition})
	}
	x.onFinished(end)
	wantRefused(t, x, proposed(), "fit into one entry of the log")
}

// What the log refuses at the end of an attempt fails it too.
func TestFinished_RefusedByTheLog(t *testing.T) {
	x, proposed := finishing(t)
	e := coordinator.OperatorStateTooLarge(1<<20, 1<<10)
	x.answered(x.hold, 1, answer{result: &internalv1.CommandResult{Error: e}}, true)
	wantRefused(t, x, proposed(), "1048576 bytes")
}
