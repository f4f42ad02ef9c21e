package slot

import (
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// operatorSnapshot is the operator state of a cut, or why there is none.
type operatorSnapshot struct {
	states   []*holdfastv1.OperatorState
	declined *holdfastv1.Error
}

// operatorSnapshot takes the operator state of this moment, for a checkpoint or, with
// 0, for the end of the source (rules 6.9 and 6.10).
func (a *attempt) operatorSnapshot(checkpoint uint64) operatorSnapshot {
	a.userCode = true
	states, err := a.task.Snapshot(checkpoint)
	a.userCode = false
	if err != nil {
		a.log.Warn("the operator state could not be taken", "checkpoint", checkpoint, "error", err)
		return operatorSnapshot{declined: newError(holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, err.Error(), nil)}
	}
	size := 0
	for _, s := range states {
		size += len(s.GetContent())
	}
	if limit := a.slot.limits.operatorState; size > limit {
		e := newError(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, fmt.Sprintf(
			"the operator state of a subtask has %d bytes, at most %d are allowed: keep less, or what grows in keyed state (of the state backends, memory allows least)",
			size, limit), nil)
		a.log.Warn("the operator state is too large", "checkpoint", checkpoint, "bytes", size, "limit", limit)
		return operatorSnapshot{declined: e}
	}
	return operatorSnapshot{states: states}
}

// assigning is an Assign that waits for RestoredOperatorState messages (rule 4.6).
type assigning struct {
	msg      *holdfastv1.HostMessage
	assign   *holdfastv1.Assign
	messages uint32
	states   []*holdfastv1.OperatorState
}

// assigned takes an assignment. It is not held before all of its operator state is
// there: if the stream breaks before that, there is nothing that could be resumed.
func (r *reader) assigned(msg *holdfastv1.HostMessage, a *holdfastv1.Assign) {
	r.assigning = &assigning{msg: msg, assign: a}
	r.begin()
}

// restored takes a part of the operator state of the newest assignment.
func (r *reader) restored(m *holdfastv1.RestoredOperatorState) {
	g := r.assigning
	if g == nil || g.assign.GetFencingToken() != m.GetFencingToken() {
		return
	}
	g.messages++
	g.states = append(g.states, m.GetStates()...)
	r.begin()
}

// begin passes the assignment on if it is whole.
func (r *reader) begin() {
	g := r.assigning
	if g.messages < g.assign.GetOperatorStateMessages() {
		return
	}
	r.assigning = nil
	r.session.hold(g.assign.GetAttempt(), g.assign.GetFencingToken())
	r.session.inbox.put(event{gen: r.gen, msg: g.msg, restored: g.states})
}
