// Package exit holds the documented exit codes of the command line and the
// one way from an error to a code and a sentence.
package exit

import (
	"context"
	"errors"
	"fmt"
)

// Code is an exit code of the program. The numbers are part of its interface.
type Code int

// The exit codes. Help text and reference print Meanings, so that there is
// one list.
const (
	OK          Code = 0
	Failure     Code = 1
	Usage       Code = 2
	NotFound    Code = 3
	Unavailable Code = 4
	Refused     Code = 5
	Interrupted Code = 130
)

// Meaning is one line of the reference of exit codes.
type Meaning struct {
	Code Code
	Text string
}

// Meanings lists every code in order.
func Meanings() []Meaning {
	return []Meaning{
		{OK, "done"},
		{Failure, "failed"},
		{Usage, "the command line or a value in it is not valid"},
		{NotFound, "no such job, state, key, operation or node"},
		{Unavailable, "no leader, or no node answers"},
		{Refused, "refused: the job or the cluster is not in a state for it"},
		{Interrupted, "interrupted by SIGINT or SIGTERM"},
	}
}

// Error is a failure with its code. Reason, where there is one, is an
// ErrorReason name without its prefix; Message is one sentence for a person.
type Error struct {
	Code    Code
	Reason  string
	Message string
	Cause   error
}

// Error is the sentence that follows "holdfast: ".
func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return e.Reason + ": " + e.Message
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error with a code. %w in the format keeps the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// CodeOf tells the exit code of an error; nil is OK. An error without a code
// is a Failure.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Interrupted
	default:
		return Failure
	}
}
