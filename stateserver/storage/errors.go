package storage

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
)

// The kinds of errors, for errors.Is.
var (
	// ErrNotFound: the file, the bucket or the root is not there.
	ErrNotFound = errors.New("not found")
	// ErrAccessDenied: no right to do it, or wrong credentials.
	ErrAccessDenied = errors.New("access denied")
	// ErrNoSpace: the disk or a quota is full.
	ErrNoSpace = errors.New("no space left")
	// ErrUnavailable: the storage does not answer, or not now. It may heal by itself.
	ErrUnavailable = errors.New("unavailable")
	// ErrCorrupt: what is there is not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrInvalidName: a name or URL that is none.
	ErrInvalidName = errors.New("invalid name")
	// ErrRefused: a directory outside of the allowed roots.
	ErrRefused = errors.New("refused")
	// ErrUnknownScheme: a scheme that the node does not have.
	ErrUnknownScheme = errors.New("unknown scheme")
	// ErrNoFiles: the jobmanager storage holds no files.
	ErrNoFiles = errors.New("storage takes no files")
	// ErrTooLarge: more than the jobmanager storage takes in one handle.
	ErrTooLarge = errors.New("too large")
)

// permanent are the kinds for which trying again is useless.
var permanent = []error{
	ErrNotFound, ErrAccessDenied, ErrNoSpace, ErrCorrupt, ErrInvalidName, ErrRefused, ErrUnknownScheme, ErrNoFiles, ErrTooLarge,
	context.Canceled,
}

// Error is a failure at one file or directory of a storage.
type Error struct {
	Op     string // what was tried, as in "write"
	URL    string // full: scheme, authority and path
	Kind   error  // one of the kinds above; nil: not classified
	Err    error  // the cause
	Remedy string // what to do about it; may be empty
}

// Error is "OP URL: CAUSE; REMEDY".
func (e *Error) Error() string {
	s := e.Op + " " + e.URL + ": "
	switch {
	case e.Err != nil:
		s += e.Err.Error()
	case e.Kind != nil:
		s += e.Kind.Error()
	default:
		s += "failed"
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// OSKind is the kind of an error of the operating system; nil: not classified.
func OSKind(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return ErrAccessDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return ErrNoSpace
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return ErrInvalidName
	default:
		return nil
	}
}

// Permanent says whether trying again is useless.
func Permanent(err error) bool {
	for _, p := range permanent {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}
