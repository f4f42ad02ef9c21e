package slot

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FatalError is a status that trying again cannot heal.
type FatalError struct {
	Reason   holdfastv1.ErrorReason
	Message  string
	Metadata map[string]string
}

// Error implements error.
func (e *FatalError) Error() string {
	return fmt.Sprintf("%s: %s", ReasonName(e.Reason), e.Message)
}

// ReasonName is the name that ErrorInfo carries: without the prefix.
func ReasonName(r holdfastv1.ErrorReason) string {
	const prefix = "ERROR_REASON_"
	name := r.String()
	if len(name) > len(prefix) && name[:len(prefix)] == prefix {
		return name[len(prefix):]
	}
	return name
}

// ReasonOf reads the reason and the metadata of a gRPC status; UNSPECIFIED if it
// carries none of this protocol.
func ReasonOf(err error) (holdfastv1.ErrorReason, map[string]string) {
	st, ok := status.FromError(err)
	if !ok {
		return holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED, nil
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "holdfast" {
			v := holdfastv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()]
			return holdfastv1.ErrorReason(v), info.GetMetadata()
		}
	}
	return holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED, nil
}

// NewFatal makes a FatalError of a status.
func NewFatal(err error) *FatalError {
	reason, metadata := ReasonOf(err)
	return &FatalError{Reason: reason, Message: status.Convert(err).Message(), Metadata: metadata}
}

// streamError says what the end of a stream means (rule 3.2). Some reasons would
// end every other stream like this one.
func streamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	switch reason, _ := ReasonOf(err); reason {
	case holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED,
		holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND,
		holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION,
		holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE:
		return NewFatal(err)
	}
	if reason, _ := ReasonOf(err); reason == holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED && status.Code(err) == codes.ResourceExhausted {
		// The transport refused a message by its size alone; it would again.
		f := NewFatal(err)
		f.Reason = holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE
		return f
	}
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("not a Holdfast node: %w", err)
	}
	return fmt.Errorf("stream: %w", err)
}
