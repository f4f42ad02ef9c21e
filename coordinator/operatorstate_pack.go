package coordinator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// PackOperatorStates makes the part of a snapshot of what a client sent: the content
// of each declared operator state once, in the order of the declarations. The text
// says what is wrong, "" for nothing.
func PackOperatorStates(declared []DeclaredOperatorState, states []*holdfastv1.OperatorState) (packed []byte, problem string) {
	type name struct{ uid, state string }
	sent := map[name]*holdfastv1.OperatorState{}
	for _, s := range states {
		n := name{s.GetOperatorUid(), s.GetStateName()}
		if sent[n] != nil {
			return nil, fmt.Sprintf("the operator state %s of operator %s is there twice", quote(n.state), quote(n.uid))
		}
		sent[n] = s
	}
	out := &holdfastv1.OperatorStates{}
	for _, d := range declared {
		n := name{d.OperatorUID, d.Descriptor.GetName()}
		s := sent[n]
		if s == nil {
			return nil, fmt.Sprintf("the %s is missing; each one that the job declares is sent, an empty one too", d)
		}
		delete(sent, n)
		if err := CheckOperatorStateContent(d.Descriptor, s.GetContent()); err != nil {
			return nil, fmt.Sprintf("the %s: %s", d, err)
		}
		out.States = append(out.States, &holdfastv1.OperatorStateContent{OperatorUid: n.uid, State: d.Descriptor, Content: s.GetContent()})
	}
	for _, s := range states {
		if n := (name{s.GetOperatorUid(), s.GetStateName()}); sent[n] != nil {
			return nil, fmt.Sprintf("the subtask has no operator state %s of operator %s", quote(n.state), quote(n.uid))
		}
	}
	packed, err := proto.MarshalOptions{Deterministic: true}.Marshal(out)
	if err != nil {
		return nil, err.Error()
	}
	return packed, ""
}

// UnpackOperatorStates reads a part of a snapshot.
func UnpackOperatorStates(packed []byte) (*holdfastv1.OperatorStates, error) {
	out := &holdfastv1.OperatorStates{}
	if err := proto.Unmarshal(packed, out); err != nil {
		return nil, fmt.Errorf("the operator state: %w", err)
	}
	for _, s := range out.States {
		if err := CheckOperatorStateContent(s.GetState(), s.GetContent()); err != nil {
			return nil, fmt.Errorf("operator state %q of operator %q: %w", s.GetState().GetName(), s.GetOperatorUid(), err)
		}
	}
	return out, nil
}

// OperatorStateBytes is the size of contents, as the bounds count it.
func OperatorStateBytes(states []*holdfastv1.OperatorState) (n int) {
	for _, s := range states {
		n += len(s.GetContent())
	}
	return n
}

// OperatorStateTooLarge is why a subtask with an operator state of n bytes cannot take
// part in a checkpoint.
func OperatorStateTooLarge(n, limit int) *holdfastv1.Error {
	remedy := "keep less, or what grows in keyed state"
	if limit < MaxOperatorState {
		remedy += fmt.Sprintf("; the state backends filesystem and rocksdb take up to %d bytes", MaxOperatorState)
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
		fmt.Sprintf("the operator state of a subtask has %d bytes, at most %d are allowed: %s", n, limit, remedy),
		"bytes", fmt.Sprint(n), "limit", fmt.Sprint(limit))
}
