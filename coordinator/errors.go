package coordinator

import (
	"fmt"
	"strconv"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Failure builds the error record for a refusal that is decided: sending the
// same thing again gives the same answer. kv are metadata pairs.
func Failure(reason holdfastv1.ErrorReason, message string, kv ...string) *holdfastv1.Error {
	e := &holdfastv1.Error{Reason: reason, Message: message, Outcome: holdfastv1.Outcome_OUTCOME_FINAL}
	if len(kv) > 0 {
		e.Metadata = make(map[string]string, len(kv)/2)
		for i := 0; i+1 < len(kv); i += 2 {
			e.Metadata[kv[i]] = kv[i+1]
		}
	}
	return e
}

// notApplied is Failure for what may be sent again.
func notApplied(reason holdfastv1.ErrorReason, message string, kv ...string) *holdfastv1.Error {
	e := Failure(reason, message, kv...)
	e.Outcome = holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	return e
}

// maxQuoted is above every name that a job, an operator or a state can have.
const maxQuoted = 128

// quote repeats a client's own text, which may be of any length.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:maxQuoted], "")) + "..."
}

// jobGone answers frames of a subtask that is forgotten.
func jobGone() *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the subtask's job has ended", "token", "0", "attempt", "0")
}

func fenced(st subtaskState) *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "the fencing token is not the current one",
		"token", fmt.Sprint(st.FencingToken), "attempt", fmt.Sprint(st.Attempt))
}
