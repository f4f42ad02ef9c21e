package slot

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// maxErrorText keeps a failure far below the limit of a message.
const maxErrorText = 8 << 10

// Ways for an attempt to end that are no failures.
var (
	// errOver: the attempt was taken away; nothing of it may go on.
	errOver = errors.New("the attempt is over")
	// errFinished: the bounded source is at its end and all is acknowledged.
	errFinished = errors.New("the attempt is finished")
	// errDrain: the program was told to stop.
	errDrain = errors.New("the program is stopping")
)

// failure is an error with what the host wants to know about it.
type failure struct {
	class    holdfastv1.FailureClass
	reason   holdfastv1.ErrorReason
	metadata map[string]string
	err      error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// userFailure is an error of user code, or one that user code ran into.
func userFailure(err error) *failure {
	reason := holdfastv1.ErrorReason_ERROR_REASON_USER_CODE
	if errors.Is(err, ErrTooLarge) {
		reason = holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE
	}
	return &failure{class: holdfastv1.FailureClass_FAILURE_CLASS_USER, reason: reason, err: err}
}

func internalFailure(err error) *failure {
	return &failure{
		class:  holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL,
		reason: holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, err: err,
	}
}

// sourceFailure says what an error of a source means to the job.
func sourceFailure(err error) *failure {
	f := &failure{
		class:  holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL,
		reason: holdfastv1.ErrorReason_ERROR_REASON_EXTERNAL, err: err,
	}
	var gap *source.OffsetOutOfRangeError
	switch {
	case errors.As(err, &gap):
		f.reason = holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE
		f.metadata = map[string]string{
			"topic":        gap.Topic,
			"partition":    strconv.FormatUint(uint64(gap.Partition), 10),
			"offset":       strconv.FormatInt(gap.Offset, 10),
			"first_offset": strconv.FormatInt(gap.First, 10),
		}
	case errors.Is(err, source.ErrSourceNotFound):
		f.reason = holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND
	}
	return f
}

// panicFailure is what a recovered panic of user code becomes.
func panicFailure(value any, stack []byte) *failure {
	f := userFailure(fmt.Errorf("panic: %v", value))
	f.metadata = map[string]string{"stack": string(stack)}
	return f
}

func (f *failure) message(token uint64) *holdfastv1.Failed {
	return &holdfastv1.Failed{
		FencingToken: token,
		FailureClass: f.class,
		Error:        newError(f.reason, f.err.Error(), f.metadata),
	}
}

// newError makes an error that can always be encoded: text of user code may be
// of any length and no UTF-8.
func newError(reason holdfastv1.ErrorReason, message string, metadata map[string]string) *holdfastv1.Error {
	e := &holdfastv1.Error{Reason: reason, Message: clip(message)}
	for k, v := range metadata {
		if e.Metadata == nil {
			e.Metadata = map[string]string{}
		}
		e.Metadata[k] = clip(v)
	}
	return e
}

func clip(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + " ..."
	}
	return strings.ToValidUTF8(text, "?")
}

// sourceError is the answer to DiscoverSplits where there is none.
func sourceError(err error) *holdfastv1.Error {
	f := sourceFailure(err)
	return newError(f.reason, f.Error(), f.metadata)
}
