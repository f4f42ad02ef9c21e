package coordinator

import (
	"fmt"
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of what attempts begin with of the operator state.
const (
	// MaxRestoredOperatorState is that of one attempt, and so of all parts of a chain
	// with UNION state together: each attempt is given the elements of all.
	MaxRestoredOperatorState = 64 << 20
	// MaxDealtOperatorState is that of the parts of an operator which are dealt out to
	// another parallelism: each attempt reads all of them to know which elements are its.
	MaxDealtOperatorState = 256 << 20
	// MaxOperatorStatePart is more than the part of a subtask has with names and types.
	MaxOperatorStatePart = 8 * MaxOperatorState
)

// UnionState is the first one of mode UNION, nil if there is none. Without any, a
// subtask of the same parallelism begins with its own part alone.
func UnionState(declared []DeclaredOperatorState) *DeclaredOperatorState {
	i := slices.IndexFunc(declared, func(d DeclaredOperatorState) bool {
		return d.Descriptor.GetMode() == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION
	})
	if i < 0 {
		return nil
	}
	return &declared[i]
}

// checkUnion refuses the part of a subtask with which the chain would have more than an
// attempt can begin with: nobody could restore such a checkpoint.
func checkUnion(ref subtaskRef, handles []*holdfastv1.StateHandle) *holdfastv1.Error {
	own := OperatorStatePart(handles)
	if own == nil {
		return nil
	}
	union := UnionState(operatorStates(ref.job, ref.vertex))
	if union == nil {
		return nil
	}
	// What others have in the pending checkpoint, and in those behind it, for which the
	// end of a subtask counts that has acked this one before.
	acked, ended := uint64(0), uint64(0)
	for _, a := range ref.job.Pending.GetAcks() {
		if a.OperatorUid == ref.vertex.OperatorUid && a.SubtaskId != ref.st.Id {
			acked += OperatorStatePart(a.Handles).GetSize()
		}
	}
	for _, st := range ref.vertex.Subtasks {
		if st.Id != ref.st.Id {
			ended += OperatorStatePart(st.FinishedHandles).GetSize()
		}
	}
	total := own.Size + max(acked, ended)
	if total <= MaxRestoredOperatorState {
		return nil
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, unionTooLarge(*union, total)+"; keep less in it, or run at a lower parallelism",
		"bytes", fmt.Sprint(total), "limit", fmt.Sprint(MaxRestoredOperatorState), "operator_uid", union.OperatorUID, "state_name", union.Descriptor.GetName())
}

func unionTooLarge(union DeclaredOperatorState, total uint64) string {
	return fmt.Sprintf("the %s is UNION, so that each attempt begins with what all subtasks have: %d bytes with the other operator state of theirs, at most %d are allowed", union, total, MaxRestoredOperatorState)
}

// CheckRestoredOperatorState judges by its size whether attempts at a parallelism can
// begin with the operator state that was subtasks had, total bytes in all. It errs on
// the side of those who restore; what is exact is known when an attempt has read it.
func CheckRestoredOperatorState(declared []DeclaredOperatorState, total uint64, was, parallelism uint32) *holdfastv1.Error {
	if len(declared) == 0 {
		return nil
	}
	what := ""
	maps := slices.ContainsFunc(declared, func(d DeclaredOperatorState) bool {
		return d.Descriptor.GetMode() == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST
	})
	switch union := UnionState(declared); {
	case union != nil && total > MaxRestoredOperatorState:
		what = unionTooLarge(*union, total) + "; restore from an older snapshot, and keep less in it"
	case union != nil || was == parallelism:
	case total > MaxDealtOperatorState:
		what = fmt.Sprintf("the operator state of operator %q has %d bytes in all, and at most %d are dealt out to another parallelism; restore it at the parallelism %d of the snapshot",
			declared[0].OperatorUID, total, MaxDealtOperatorState, was)
	case !maps && total/uint64(max(parallelism, 1)) > MaxRestoredOperatorState:
		what = dealtTooLarge(declared[0], total/uint64(max(parallelism, 1)))
	}
	if what == "" {
		return nil
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, what, "operator_uid", declared[0].OperatorUID)
}

func dealtTooLarge(d DeclaredOperatorState, n uint64) string {
	return fmt.Sprintf("each subtask would begin with %d bytes of the operator state of operator %q, at most %d are allowed; restore it at a higher parallelism", n, d.OperatorUID, MaxRestoredOperatorState)
}

// CheckBeginsWith judges what an attempt was dealt.
func CheckBeginsWith(declared []DeclaredOperatorState, states []*holdfastv1.OperatorState) *holdfastv1.Error {
	n := uint64(OperatorStateBytes(states))
	if n <= MaxRestoredOperatorState {
		return nil
	}
	what := dealtTooLarge(declared[0], n)
	if union := UnionState(declared); union != nil {
		what = unionTooLarge(*union, n) + "; restore from an older snapshot, and keep less in it"
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, what, "operator_uid", declared[0].OperatorUID)
}
