package keyed

import (
	"errors"
	"fmt"
)

// Sentinel errors; match them with errors.Is, the text carries the detail.
// All of them mean "not applied" and depend on contents and input alone, so
// every replica returns the same one.
var (
	// ErrUnknownSpace: no space with that subtask id.
	ErrUnknownSpace = errors.New("keyed: unknown space")
	// ErrSpaceExists: Create of an id that is in use.
	ErrSpaceExists = errors.New("keyed: space exists")
	// ErrUnknownState: the space has no state with that id.
	ErrUnknownState = errors.New("keyed: unknown state")
	// ErrUnknownVersion: the space has no frozen version with that number.
	ErrUnknownVersion = errors.New("keyed: unknown version")
	// ErrVersionExists: Freeze of a version that is frozen already.
	ErrVersionExists = errors.New("keyed: version exists")
	// ErrMalformed: the input contradicts itself or the space's configuration
	// (lengths that do not add up, an unknown op, a foreign key group).
	ErrMalformed = errors.New("keyed: malformed input")
	// ErrTypeMismatch: an op or a value that the state's type does not allow.
	ErrTypeMismatch = errors.New("keyed: type mismatch")
	// ErrKeyTooLarge: a key above SpaceConfig.MaxKeyBytes.
	ErrKeyTooLarge = errors.New("keyed: key too large")
	// ErrValueTooLarge: a value above SpaceConfig.MaxValueBytes. Of a list or a map
	// that would grow too large the error is a *ValueTooLargeError.
	ErrValueTooLarge = errors.New("keyed: value too large")
	// ErrStateTooLarge: the flush would end above StateConfig.MaxBytes. The
	// error is a *StateTooLargeError.
	ErrStateTooLarge = errors.New("keyed: state too large")
	// ErrTableFull: one key group of one state would pass 512 MiB, counting 12
	// bytes an entry beside its key and value.
	ErrTableFull = errors.New("keyed: key group full")
	// ErrCorruptSnapshot: Read met input that no View wrote.
	ErrCorruptSnapshot = errors.New("keyed: corrupt snapshot")
	// ErrReleased: use of a View after Release.
	ErrReleased = errors.New("keyed: view released")
)

// StateTooLargeError tells which state a refused flush would have made too
// large. errors.Is(err, ErrStateTooLarge) holds for it.
type StateTooLargeError struct {
	StateID uint32
	Bytes   int64 // keys + values after the flush, had it been applied
	Limit   int64 // StateConfig.MaxBytes
}

// Error implements error.
func (e *StateTooLargeError) Error() string {
	return fmt.Sprintf("%v: state %d would hold %d bytes, limit %d", ErrStateTooLarge, e.StateID, e.Bytes, e.Limit)
}

// Unwrap returns ErrStateTooLarge.
func (e *StateTooLargeError) Unwrap() error { return ErrStateTooLarge }

// ValueTooLargeError tells which list, map or value with a TTL a refused flush would
// have made too large. errors.Is(err, ErrValueTooLarge) holds for it.
type ValueTooLargeError struct {
	StateID  uint32
	KeyBytes int // length of the key
	Bytes    int // of the value, had the flush been applied
	Limit    int // SpaceConfig.MaxValueBytes
}

// Error implements error.
func (e *ValueTooLargeError) Error() string {
	return fmt.Sprintf("%v: state %d, a key of %d bytes would have a value of %d bytes, limit %d", ErrValueTooLarge, e.StateID, e.KeyBytes, e.Bytes, e.Limit)
}

// Unwrap returns ErrValueTooLarge.
func (e *ValueTooLargeError) Unwrap() error { return ErrValueTooLarge }

// wrapf returns an error that matches sentinel and tells the detail.
func wrapf(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}
