package exit

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain is the ErrorInfo domain of Holdfast's own reasons.
const domain = "holdfast"

// FromRPC turns the error of a call into one sentence and a code. The reason
// of the ErrorInfo detail decides; a status without one comes from gRPC itself
// (nobody listened, no answer in time) and is judged by its code.
func FromRPC(err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) || errors.Is(err, context.Canceled) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if st.Code() == codes.Canceled {
		return &Error{Code: Interrupted, Message: "interrupted", Cause: context.Canceled}
	}
	reason := Reason(err)
	if reason == "" && unreachable(st.Code()) {
		reason = "UNREACHABLE"
	}
	return &Error{
		Code:    codeOf(reason, st.Code()),
		Reason:  reason,
		Message: withHint(reason, sentence(st.Message())),
		Cause:   err,
	}
}

// Unreached is the error of calls that nobody answered.
func Unreached(reason, message string) error {
	return &Error{Code: Unavailable, Reason: reason, Message: withHint(reason, message)}
}

// Reason is the ErrorReason name in an RPC error, or "".
func Reason(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return ""
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return info.GetReason()
		}
	}
	return ""
}

func unreachable(c codes.Code) bool {
	return c == codes.Unavailable || c == codes.DeadlineExceeded
}

// byReason has the reasons whose exit code does not follow from the gRPC code.
var byReason = map[string]Code{
	"NO_LEADER":             Unavailable,
	"PROPOSAL_TIMEOUT":      Unavailable,
	"OVERLOADED":            Unavailable,
	"JOB_NOT_FOUND":         NotFound,
	"OPERATION_NOT_FOUND":   NotFound,
	"STATE_NOT_FOUND":       NotFound,
	"SOURCE_NOT_FOUND":      NotFound,
	"INVALID_REQUEST":       Usage,
	"INVALID_JOB_SPEC":      Refused,
	"JOB_STATE":             Refused,
	"JOB_TERMINATED":        Refused,
	"JOB_SPEC_DIFFERS":      Refused,
	"CHECKPOINT_PENDING":    Refused,
	"CHECKPOINTS_DISABLED":  Refused,
	"OFFSET_OUT_OF_RANGE":   Refused,
	"STATE_LOST":            Refused,
	"STATE_INCOMPATIBLE":    Refused,
	"NON_RESTORED_STATE":    Refused,
	"PATH_NOT_ALLOWED":      Refused,
	"RESTORE_FAILED":        Failure,
	"SAVEPOINT_FAILED":      Failure,
	"STORAGE_UNAVAILABLE":   Failure,
	"STATE_TOO_LARGE":       Refused,
	"VERSION_NOT_SUPPORTED": Refused,
	"UNREACHABLE":           Unavailable,
	"INTERNAL":              Failure,

	"NOT_A_MEMBER":             Unavailable,
	"NODE_NOT_FOUND":           NotFound,
	"NODE_UNREACHABLE":         Unavailable,
	"NODE_NOT_ADDABLE":         Refused,
	"QUORUM_AT_RISK":           Refused,
	"MEMBERSHIP_CHANGE_FAILED": Failure,
}

func codeOf(reason string, c codes.Code) Code {
	if code, ok := byReason[reason]; ok {
		return code
	}
	switch c {
	case codes.NotFound:
		return NotFound
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return Unavailable
	case codes.FailedPrecondition, codes.AlreadyExists, codes.Aborted, codes.PermissionDenied, codes.Unauthenticated:
		return Refused
	case codes.InvalidArgument, codes.OutOfRange:
		return Usage
	default:
		return Failure
	}
}

// hints say what to do next where the server, which does not know the command
// line, does not.
var hints = map[string]string{
	"JOB_NOT_FOUND":        "`holdfast list` shows the jobs",
	"NO_LEADER":            "`holdfast cluster status` shows the nodes; a majority must run",
	"UNREACHABLE":          "is a node running? --address or HOLDFAST_ADDRESS names the nodes",
	"JOB_TERMINATED":       "`holdfast run` submits it anew",
	"JOB_STATE":            "`holdfast describe` shows the job",
	"CHECKPOINT_NOT_FOUND": "`holdfast checkpoints` lists those that are remembered",
	"CHECKPOINTS_DISABLED": "the program enables them",
	"CHECKPOINT_PENDING":   "`holdfast checkpoints` shows it",
	"STATE_NOT_FOUND":      "`holdfast describe` shows the job's states",
	"OFFSET_OUT_OF_RANGE":  "`holdfast resume --accept-gap` goes on without the missing records",
	"STATE_LOST":           "`holdfast resume --accept-gap` begins the subtasks whose state is lost from empty",
	"NON_RESTORED_STATE":   "`holdfast run --allow-non-restored-state` leaves it behind",
	"PATH_NOT_ALLOWED":     "storage.allowed-roots of the nodes says where directories may lie",
}

func withHint(reason, message string) string {
	hint, ok := hints[reason]
	if !ok || strings.Contains(message, "`holdfast") || strings.Contains(message, hint) {
		return message
	}
	return strings.TrimSuffix(message, ".") + "; " + hint
}

// sentence makes one line of a message that may hold several.
func sentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return "the server gave no message"
	}
	return s
}
