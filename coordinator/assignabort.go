//go:build !bug_assign_keeps_pending

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// abortForAssign aborts the pending checkpoint in the entry of an assignment, so
// that none mixes attempts (invariant 4).
func (m *Machine) abortForAssign(j jobState, timeMs int64) {
	m.abortPending(j, Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, "a subtask was assigned anew"), timeMs)
}
