package holdfast

import (
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// stateDeclaration is what every kind of state has.
type stateDeclaration struct {
	name         string
	kind         holdfastv1.StateKind
	typ, keyType string
	version      uint32
	ttl          StateTTLConfig
	// op is what changes the state without its value being known, 0 for none.
	op statevalue.Op
}

func (d *stateDeclaration) descriptor() *holdfastv1.StateDescriptor {
	return &holdfastv1.StateDescriptor{
		Name: d.name, Kind: d.kind, Type: d.typ, MapKeyType: d.keyType, TypeVersion: d.version, Ttl: d.ttl.proto(),
	}
}

// rules are those of the working copy; nil for plain values.
func (d *stateDeclaration) rules() *workingcopy.Rules {
	r := &workingcopy.Rules{
		State:         statevalue.State{Kind: valueKind(d.kind), Type: valueType(d.typ), TTLMs: d.ttl.ttl.Milliseconds()},
		ReturnExpired: d.ttl.visibility == ReturnExpiredIfNotCleanedUp,
		RefreshOnRead: d.ttl.updateType == OnReadAndWrite,
		Op:            d.op,
		Blind:         d.op != 0,
	}
	if r.State.Kind == statevalue.Value && r.State.TTLMs == 0 && !r.Blind {
		return nil
	}
	return r
}

func valueKind(k holdfastv1.StateKind) statevalue.Kind {
	switch k {
	case holdfastv1.StateKind_STATE_KIND_LIST:
		return statevalue.List
	case holdfastv1.StateKind_STATE_KIND_MAP:
		return statevalue.Map
	}
	return statevalue.Value
}

func valueType(name string) statevalue.Type {
	switch name {
	case int64Codec.name:
		return statevalue.Int64
	case float64Codec.name:
		return statevalue.Float64
	}
	return statevalue.Other
}

// declare adds a state to the operator: to the job's specification while it is
// planned, to the working copy in an attempt.
func (op *operatorContext) declare(d stateDeclaration) (int, error) {
	switch {
	case !op.keyed:
		return 0, errNotKeyed
	case d.name == "":
		return 0, errStateName
	case op.opened:
		return 0, errors.New("state may be declared only in Open")
	}
	if err := d.ttl.check(); err != nil {
		return 0, err
	}
	if op.hasState(d.name) {
		return 0, errors.New("the operator has two states of this name")
	}
	op.states = append(op.states, d.descriptor())
	if op.rt == nil {
		return len(op.states) - 1, nil
	}
	t, err := op.rt.Table(op.uid, d.name)
	if err != nil {
		return 0, err
	}
	if r := d.rules(); r != nil {
		t.SetRules(*r)
	}
	op.tables = append(op.tables, t)
	return len(op.states) - 1, nil
}

// known is the entry of the current key in one state, with its value.
func (op *operatorContext) known(index int) (*workingcopy.Entry, error) {
	e, err := op.entry(index)
	if err != nil || e.Known() {
		return e, err
	}
	e.Want()
	return e, op.rt.Fetch()
}

// room refuses a change that makes the value of an entry larger than the limit.
func (op *operatorContext) room(e *workingcopy.Entry, more int) error {
	return op.rt.CheckValueBytes(e.StoredBytes() + more)
}

// stateError names the state and what was tried.
func (op *operatorContext) stateError(index int, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("state %q: %s: %w", op.states[index].GetName(), what, err)
}
