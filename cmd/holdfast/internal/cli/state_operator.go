package cli

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/values"
	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// placeBytes is the size of a key that is a place in a list.
const placeBytes = 8

// declaredState is how entries are to be read. Of an operator state value is the
// descriptor of an element.
type declaredState struct {
	value    *holdfastv1.StateDescriptor
	operator *holdfastv1.OperatorStateDescriptor
}

// declared is what an answer tells of its state. A node of an older version tells the
// type alone.
func declared(answer interface {
	GetStateDescriptor() *holdfastv1.StateDescriptor
	GetType() string
	GetOperatorState() *holdfastv1.OperatorStateDescriptor
}) declaredState {
	d := declaredState{answer.GetStateDescriptor(), answer.GetOperatorState()}
	if d.value == nil {
		d.value = &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: answer.GetType()}
	}
	return d
}

// elementState is how nodes send an operator state: element by element.
func elementState(d *holdfastv1.OperatorStateDescriptor) declaredState {
	return declaredState{
		value:    coordinator.ElementDescriptor(d),
		operator: d,
	}
}

// mode is that of an operator state in words, "" of keyed state.
func (d declaredState) mode() string {
	if d.operator == nil {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(d.operator.GetMode().String(), "OPERATOR_STATE_MODE_"))
}

// text is a declaration for a person.
func (d declaredState) text() string {
	if d.operator == nil {
		return descriptorText(d.value)
	}
	text := "operator " + strings.ReplaceAll(d.mode(), "_", "-") + " "
	if k := d.operator.GetMapKeyType(); k != "" {
		text += k + " to "
	}
	text += d.operator.GetType()
	if v := d.operator.GetTypeVersion(); v > 0 {
		text += fmt.Sprintf(" version %d", v)
	}
	return text
}

func isBroadcast(d *holdfastv1.OperatorStateDescriptor) bool {
	return d.GetMode() == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST
}

func viewOperatorState(uid string, d *holdfastv1.OperatorStateDescriptor, entries, bytes *uint64) stateView {
	s := elementState(d)
	return stateView{
		UID: uid, Name: d.GetName(), Kind: "operator", Mode: s.mode(), Type: d.GetType(), MapKey: d.GetMapKeyType(),
		Entries: entries, Bytes: bytes, text: s.text(),
	}
}

// everyState lists the states of an operator, its operator states by their elements.
func everyState(o *holdfastv1.Operator) []*holdfastv1.StateDescriptor {
	out := append([]*holdfastv1.StateDescriptor{}, o.GetStates()...)
	for _, d := range o.GetOperatorStates() {
		out = append(out, elementState(d).value)
	}
	return out
}

func operatorsOf(s *holdfastv1.SnapshotDescription) (out []*holdfastv1.Operator) {
	for _, o := range s.GetOperators() {
		out = append(out, o.GetOperator())
	}
	return out
}

// operatorStateIn finds the operator state that a uid and a name stand for, either of
// which may be empty where only one state fits; nil if it is none.
func operatorStateIn(operators []*holdfastv1.Operator, uid, state string) (found *holdfastv1.OperatorStateDescriptor) {
	u, s, err := onlyState("", operators, uid, state)
	if err != nil {
		return nil // whoever asks for the state is told
	}
	for _, o := range operators {
		for _, d := range o.GetOperatorStates() {
			if o.GetUid() == u && d.GetName() == s {
				found = d
			}
		}
	}
	return found
}

// jobState is selector with the declaration of the state, if it is an operator state.
func (f *stateFlags) jobState(ctx context.Context, c *connect.Cluster, job string) (*holdfastv1.StateSelector, *holdfastv1.OperatorStateDescriptor, error) {
	s, err := f.selector(ctx, c, job)
	if err != nil {
		return nil, nil, err
	}
	description, err := jobs.Describe(ctx, c, job)
	if err != nil {
		return nil, nil, err
	}
	return s, operatorStateIn(description.GetSpec().GetOperators(), s.GetOperatorUid(), s.GetStateName()), nil
}

// encodeKey reads a key: that of a broadcast state by its own type where the command
// line knows it, and of a list the place.
func encodeKey(keyType string, operator *holdfastv1.OperatorStateDescriptor, text string) ([]byte, error) {
	switch {
	case isBroadcast(operator) && values.Known(operator.GetMapKeyType()):
		keyType = operator.GetMapKeyType()
	case operator != nil && !isBroadcast(operator):
		place, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no place in a list, a whole number from 0", text)
		}
		return binary.BigEndian.AppendUint64(nil, place), nil
	}
	return values.Encode(keyType, text)
}

// setKey shows the key of an entry, of an operator state with its subtask.
func (e *entryView) setKey(keyType string, operator *holdfastv1.OperatorStateDescriptor, entry *holdfastv1.StateEntry) {
	if operator != nil {
		if entry.GetFound() {
			subtask := entry.GetKeyGroup()
			e.Subtask = &subtask
		}
		if !isBroadcast(operator) && len(entry.GetKey()) == placeBytes {
			place := binary.BigEndian.Uint64(entry.GetKey())
			e.Place = &place
			return
		}
		if values.Known(operator.GetMapKeyType()) {
			keyType = operator.GetMapKeyType()
		}
	}
	key, err := values.Decode(keyType, entry.GetKey())
	if text, isText := key.(string); err != nil || isText && !values.Printable(text) {
		e.KeyHex = values.Hex(fmt.Sprintf("%x", entry.GetKey()))
		return
	}
	e.Key = key
}
