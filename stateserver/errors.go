package stateserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// ErrorDomain is the domain of every ErrorInfo.
const ErrorDomain = "holdfast"

// codesByReason is the one table from reasons to gRPC codes. Every reason is
// in it.
var codesByReason = map[holdfastv1.ErrorReason]codes.Code{
	holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER:             codes.Unavailable,
	holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT:      codes.Unavailable,
	holdfastv1.ErrorReason_ERROR_REASON_FENCED:                codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED:    codes.Aborted,
	holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION:    codes.InvalidArgument,
	holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE:       codes.ResourceExhausted,
	holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE:       codes.ResourceExhausted,
	holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED:            codes.ResourceExhausted,
	holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE:    codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE:   codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST:            codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED: codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND:         codes.NotFound,
	holdfastv1.ErrorReason_ERROR_REASON_JOB_TERMINATED:        codes.AlreadyExists,
	holdfastv1.ErrorReason_ERROR_REASON_JOB_SPEC_DIFFERS:      codes.AlreadyExists,
	holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC:      codes.InvalidArgument,
	holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:       codes.InvalidArgument,
	holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE:             codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_OPERATION_NOT_FOUND:   codes.NotFound,
	holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND:       codes.NotFound,
	holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING:    codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP:               codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED:       codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_USER_CODE:             codes.Aborted,
	holdfastv1.ErrorReason_ERROR_REASON_EXTERNAL:              codes.Aborted,
	holdfastv1.ErrorReason_ERROR_REASON_INTERNAL:              codes.Internal,
	holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINTS_DISABLED:  codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND:      codes.NotFound,
	holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE:     codes.ResourceExhausted,
	holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST:         codes.Unavailable,
	holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED:     codes.Aborted,
	holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND:  codes.NotFound,
	// What clients expect of any gRPC server.
	holdfastv1.ErrorReason_ERROR_REASON_METHOD_NOT_FOUND:    codes.Unimplemented,
	holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED:      codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_NON_RESTORED_STATE:  codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_STORAGE_UNAVAILABLE: codes.Unavailable,
	holdfastv1.ErrorReason_ERROR_REASON_PATH_NOT_ALLOWED:    codes.InvalidArgument,
	holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED:    codes.Aborted,

	holdfastv1.ErrorReason_ERROR_REASON_NOT_A_MEMBER:             codes.Unavailable,
	holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND:           codes.NotFound,
	holdfastv1.ErrorReason_ERROR_REASON_NODE_UNREACHABLE:         codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_ADDABLE:         codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_QUORUM_AT_RISK:           codes.FailedPrecondition,
	holdfastv1.ErrorReason_ERROR_REASON_MEMBERSHIP_CHANGE_FAILED: codes.Aborted,
}

// toStatus renders an error record as the gRPC status that clients see.
func toStatus(e *holdfastv1.Error) error {
	if e == nil {
		return nil
	}
	code, ok := codesByReason[e.Reason]
	if !ok {
		code = codes.Internal
	}
	meta := map[string]string{"outcome": strings.ToLower(strings.TrimPrefix(e.Outcome.String(), "OUTCOME_"))}
	for k, v := range e.Metadata {
		meta[k] = cut(v, maxStatusText)
	}
	st := status.New(code, cut(e.Message, maxStatusText))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(e.Reason.String(), "ERROR_REASON_"), Domain: ErrorDomain, Metadata: meta,
	}}
	if e.Reason == holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(overloadedDelay)})
	}
	detailed, err := st.WithDetails(details...)
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// maxStatusText bounds each text of a status, which travels as a header: what
// repeats a client's own input may be of any length.
const maxStatusText = 2 << 10

// overloadedDelay is when a client may ask the same node again.
const overloadedDelay = time.Second

// cut shortens a text, not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// storeErrors is the table from the store's sentinels to reasons.
var storeErrors = []struct {
	err    error
	reason holdfastv1.ErrorReason
}{
	{raftstore.ErrNotLeader, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER},
	{raftstore.ErrLeadershipLost, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER},
	{raftstore.ErrShutdown, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER},
	{raftstore.ErrCommandTooLarge, holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE},
	{raftstore.ErrOverloaded, holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED},
	{context.DeadlineExceeded, holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT},
	{context.Canceled, holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT},
}

// fromStore renders an error of the store as an error record.
func fromStore(err error) *holdfastv1.Error {
	if err == nil {
		return nil
	}
	out := coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, err.Error())
	for _, row := range storeErrors {
		if errors.Is(err, row.err) {
			out.Reason = row.reason
			break
		}
	}
	switch raftstore.Outcome(err) {
	case raftstore.NotApplied:
		out.Outcome = holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	case raftstore.Unknown:
		out.Outcome = holdfastv1.Outcome_OUTCOME_UNKNOWN
	case raftstore.Final:
		out.Outcome = holdfastv1.Outcome_OUTCOME_FINAL
	}
	if out.Reason == holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE {
		out.Outcome = holdfastv1.Outcome_OUTCOME_FINAL
	}
	return out
}

// noLeader is the answer while nobody leads.
func noLeader() *holdfastv1.Error {
	return &holdfastv1.Error{
		Reason: holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, Outcome: holdfastv1.Outcome_OUTCOME_NOT_APPLIED,
		Message: "the cluster has no leader now; a majority of its nodes must be up and reach each other",
	}
}

// violation names the rule of docs/protocol.md that a frame breaks.
func violation(rule, message string) *holdfastv1.Error {
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION,
		message+"; see rule "+rule+" of docs/protocol.md", "rule", rule)
}

// tooLarge is a frame, a key or a value above a limit of Welcome.
func tooLarge(message string) *holdfastv1.Error {
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE, message)
}

// overloaded is a bound of this node that is reached. Nothing was applied.
func overloaded(message string) *holdfastv1.Error {
	e := coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED, message)
	e.Outcome = holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	return e
}
