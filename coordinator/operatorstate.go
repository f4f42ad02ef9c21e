package coordinator

import (
	"fmt"
	"slices"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of the contents of all operator states of a subtask.
const (
	// MaxOperatorStateInLog is that of the memory backend, whose operator state is in
	// the entry that acks.
	MaxOperatorStateInLog = 128 << 10
	// MaxOperatorState is that of backends on hosts: half of a message.
	MaxOperatorState = 2 << 20
)

// OperatorStateFormat is the format, and the name, of the part of a snapshot that has
// the operator state of a subtask. No state backend may use it.
const OperatorStateFormat = "operator-state"

// OperatorStateLimit is the bound for jobs on a state backend.
func OperatorStateLimit(backend string) int {
	if backend == MemoryBackend {
		return MaxOperatorStateInLog
	}
	return MaxOperatorState
}

// DeclaredOperatorState is an operator state of a chain.
type DeclaredOperatorState struct {
	OperatorUID string
	Descriptor  *holdfastv1.OperatorStateDescriptor
}

// String names it for people.
func (d DeclaredOperatorState) String() string {
	return fmt.Sprintf("operator state %q of operator %q", d.Descriptor.GetName(), d.OperatorUID)
}

// operatorStates lists those of a chain, in the order of the specification.
func operatorStates(j jobState, v vertexState) (out []DeclaredOperatorState) {
	for _, o := range j.Spec.Operators {
		if len(o.OperatorStates) == 0 || !slices.Contains(v.Chain, o.Uid) {
			continue
		}
		for _, d := range o.OperatorStates {
			out = append(out, DeclaredOperatorState{o.Uid, d})
		}
	}
	return out
}

// normalizeOperatorStates checks the operator states of an operator. Their names are
// of one kind with those of its keyed states.
func normalizeOperatorStates(o *holdfastv1.Operator, field string) *holdfastv1.Error {
	field += ".operator_states"
	names := map[string]string{}
	for _, d := range o.States {
		names[d.Name] = "keyed state"
	}
	for _, d := range o.OperatorStates {
		switch other := names[d.Name]; {
		case !nameRE.MatchString(d.Name):
			return invalid(field, fmt.Sprintf("operator %q: the name %s of an operator state is not %s", o.Uid, quote(d.Name), nameRule))
		case other == "keyed state":
			return invalid(field, fmt.Sprintf("operator %q has a keyed state %q and an operator state of this name; give each its own name", o.Uid, d.Name))
		case other != "":
			return invalid(field, fmt.Sprintf("operator %q declares the operator state %q twice; give each its own name", o.Uid, d.Name))
		}
		if text := checkOperatorState(d); text != "" {
			return invalid(field, fmt.Sprintf("operator state %q of operator %q: %s", d.Name, o.Uid, text))
		}
		names[d.Name] = "operator state"
	}
	return nil
}

func checkOperatorState(d *holdfastv1.OperatorStateDescriptor) string {
	isMap := d.Mode == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST
	switch {
	case d.Mode == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNSPECIFIED || holdfastv1.OperatorStateMode_name[int32(d.Mode)] == "":
		return fmt.Sprintf("unknown mode %d; known are SPLIT_DISTRIBUTE, UNION, BROADCAST", d.Mode)
	case !typeRE.MatchString(d.Type):
		return fmt.Sprintf("unknown type %s; %s", quote(d.Type), knownTypes)
	case isMap && !typeRE.MatchString(d.MapKeyType):
		return fmt.Sprintf("unknown type %s of the keys of the map; %s", quote(d.MapKeyType), knownTypes)
	case !isMap && d.MapKeyType != "":
		return "map_key_type is set, and its mode is not BROADCAST"
	}
	return ""
}

// ElementDescriptor describes one element of an operator state: a value of its type.
func ElementDescriptor(d *holdfastv1.OperatorStateDescriptor) *holdfastv1.StateDescriptor {
	return &holdfastv1.StateDescriptor{
		Name: d.GetName(), Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: d.GetType(), TypeVersion: d.GetTypeVersion(),
	}
}

// CheckOperatorStateRestorable is CheckRestorable for an operator state: the mode and
// the types must be the same, and the version of the type not older.
func CheckOperatorStateRestorable(operatorUID string, snapshot, job *holdfastv1.OperatorStateDescriptor) *holdfastv1.Error {
	what := ""
	mode := func(d *holdfastv1.OperatorStateDescriptor) string {
		return strings.TrimPrefix(d.GetMode().String(), "OPERATOR_STATE_MODE_")
	}
	switch {
	case snapshot.GetMode() != job.GetMode():
		what = fmt.Sprintf("the mode %s, and the job declares %s", mode(snapshot), mode(job))
	case snapshot.GetType() != job.GetType():
		what = fmt.Sprintf("the type %s, and the job declares %s", quote(snapshot.GetType()), quote(job.GetType()))
	case snapshot.GetMapKeyType() != job.GetMapKeyType():
		what = fmt.Sprintf("keys of the type %s, and the job declares %s", quote(snapshot.GetMapKeyType()), quote(job.GetMapKeyType()))
	case snapshot.GetTypeVersion() > job.GetTypeVersion():
		what = fmt.Sprintf("version %d of its type, and the job declares the older version %d", snapshot.GetTypeVersion(), job.GetTypeVersion())
	default:
		return nil
	}
	return incompatibleOperatorState(operatorUID, job.GetName(), what)
}

// CheckOperatorStateKind refuses a state that is keyed in the snapshot and an operator
// state in the job, or the other way round.
func CheckOperatorStateKind(old, now *holdfastv1.Operator) *holdfastv1.Error {
	for _, o := range []struct {
		keyed, other *holdfastv1.Operator
		what         string
	}{{old, now, "keyed state, and the job declares an operator state"}, {now, old, "operator state, and the job declares a keyed state"}} {
		names := map[string]bool{}
		for _, d := range o.keyed.GetStates() {
			names[d.GetName()] = true
		}
		for _, d := range o.other.GetOperatorStates() {
			if names[d.GetName()] {
				return incompatibleOperatorState(now.GetUid(), d.GetName(), o.what)
			}
		}
	}
	return nil
}

func incompatibleOperatorState(operatorUID, name, what string) *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE,
		fmt.Sprintf("operator state %q of operator %q has in the snapshot %s; declare it as it was, or give it another name", name, operatorUID, what),
		"operator_uid", operatorUID, "state_name", name)
}

// OperatorStatePart finds the part of a subtask's snapshot that has its operator
// state, nil if there is none.
func OperatorStatePart(handles []*holdfastv1.StateHandle) *holdfastv1.StateHandle {
	for _, h := range handles {
		if h.GetFormat() == OperatorStateFormat {
			return h
		}
	}
	return nil
}

// BackendParts are the other parts, those of the state backend.
func BackendParts(handles []*holdfastv1.StateHandle) []*holdfastv1.StateHandle {
	if OperatorStatePart(handles) == nil {
		return handles
	}
	out := make([]*holdfastv1.StateHandle, 0, len(handles))
	for _, h := range handles {
		if h.GetFormat() != OperatorStateFormat {
			out = append(out, h)
		}
	}
	return out
}

// InlineOperatorState is the part of a snapshot that has an operator state inline.
func InlineOperatorState(packed []byte) *holdfastv1.StateHandle {
	return &holdfastv1.StateHandle{Name: OperatorStateFormat, Format: OperatorStateFormat, Size: uint64(len(packed)), Inline: packed}
}

// checkInLog judges the parts that a subtask of the memory backend acks: its operator
// state alone, inline.
func checkInLog(ref subtaskRef, handles []*holdfastv1.StateHandle) *holdfastv1.Error {
	for i, h := range handles {
		if i > 0 || h.Format != OperatorStateFormat || h.File != "" || h.Size != uint64(len(h.Inline)) {
			return Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "of the memory backend only the operator state is acked, inline", "field", "handles")
		}
	}
	if e := checkUnion(ref, handles); e != nil {
		return e
	}
	return checkTotal(ref.job, handles)
}
