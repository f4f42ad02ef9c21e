package slot

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// streamError says what the end of a stream means (rule 3.2).
func (s *session) streamError(ctx context.Context, err error, welcomed bool) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	reason, _ := ReasonOf(err)
	switch reason {
	case holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED:
		return NewFatal(err)
	case holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND:
		// The node may lag behind the one that made the job.
		if s.notFound.IsZero() {
			s.notFound = time.Now()
		}
		if time.Since(s.notFound) > jobVisibleWithin {
			return NewFatal(err)
		}
	case holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION,
		holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE:
		if !welcomed {
			return NewFatal(err)
		}
		// Sending the same frames again would end the next stream too.
		s.log.Error("the node refuses a frame; this is a bug", "error", err)
		s.release(s.heldAttempt())
		s.inbox.put(event{gen: s.currentGen(), violation: err})
	}
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("not a Holdfast node: %w", err)
	}
	return fmt.Errorf("stream: %w", err)
}

func (s *session) currentGen() uint64 {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.gen
}
