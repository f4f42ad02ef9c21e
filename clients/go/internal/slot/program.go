package slot

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Program makes the user code of attempts.
type Program interface {
	// NewTask makes and opens the operators of one attempt.
	NewTask(rt *Runtime) (Task, error)
}

// Task is the user code of one attempt. All calls come from one goroutine.
//
// Records are handled in two steps, so that all keys of a batch are asked for
// at once: Collect runs everything up to the first keyed operators and notes
// the keys, Process does the rest, record by record. A checkpoint's cut lies
// between two calls of Process, so Collect must change no state and write no
// output.
type Task interface {
	// Collect begins record r, the n-th since Reset.
	Collect(n int, r source.Record) error
	// LookUp comes behind the last Collect of a run: the task finds the entries of
	// all its keys.
	LookUp()
	// Process ends the n-th record.
	Process(n int) error
	// Reset forgets what was collected.
	Reset()
	// Outputs are what the task has written since it was last asked; the caller
	// takes the buffers.
	Outputs() []*Output
	// Snapshot is the operator state of this moment, between two calls of Process, for
	// a checkpoint, or 0 for the end of the source. What it returns does not change
	// any more.
	Snapshot(checkpoint uint64) ([]*holdfastv1.OperatorState, error)
	// Close ends the user code, also after an error.
	Close() error
}

// ErrTooLarge means that a key or a value is above its limit.
var ErrTooLarge = errors.New("above the limit")

// Runtime is what a task may use.
type Runtime struct {
	a *attempt
}

// OperatorUID is the uid of the source of the chain.
func (rt *Runtime) OperatorUID() string { return rt.a.assign.GetOperatorUid() }

// SubtaskIndex is from 0 to Parallelism-1.
func (rt *Runtime) SubtaskIndex() int { return int(rt.a.assign.GetSubtaskIndex()) }

// Parallelism is the number of subtasks.
func (rt *Runtime) Parallelism() int { return int(rt.a.assign.GetParallelism()) }

// Attempt numbers the attempts of all subtasks, rising.
func (rt *Runtime) Attempt() uint64 { return rt.a.id }

// CoPartitioned tells that the key group of a record is its partition.
func (rt *Runtime) CoPartitioned() bool { return rt.a.assign.GetCoPartitioned() }

// Logger names the subtask in what it logs.
func (rt *Runtime) Logger() *slog.Logger { return rt.a.log }

// Table is the working copy of a named state.
func (rt *Runtime) Table(operatorUID, stateName string) (*workingcopy.Table, error) {
	for _, id := range rt.a.assign.GetStateIds() {
		if id.GetOperatorUid() == operatorUID && id.GetStateName() == stateName {
			return rt.a.store.Table(id.GetId()), nil
		}
	}
	return nil, fmt.Errorf("the job has no state %q of operator %q; was it declared when the job was submitted?",
		stateName, operatorUID)
}

// OperatorState is the content that an operator state begins with, nil for none.
func (rt *Runtime) OperatorState(operatorUID, stateName string) (content []byte) {
	for _, s := range rt.a.restored {
		if s.GetOperatorUid() == operatorUID && s.GetStateName() == stateName {
			content = append(content, s.GetContent()...)
		}
	}
	return content
}

// Fetch waits until nothing is missing in the working copy any more. It may be
// called from within Process, for keys that Collect could not know.
func (rt *Runtime) Fetch() error {
	rt.a.userCode = false
	err := rt.a.fetchInRecord()
	rt.a.userCode = true
	return err
}

// CheckKey compares a key with its limit.
func (rt *Runtime) CheckKey(key []byte) error {
	if limit := rt.a.slot.limits.key; len(key) > limit {
		return fmt.Errorf("a key of %d bytes is %w of %d bytes", len(key), ErrTooLarge, limit)
	}
	return nil
}

// CheckValue compares a value with its limit.
func (rt *Runtime) CheckValue(value []byte) error {
	return rt.CheckValueBytes(len(value))
}

// CheckValueBytes compares the size of a value with its limit.
func (rt *Runtime) CheckValueBytes(n int) error {
	if limit := rt.a.slot.limits.value; n > limit {
		return fmt.Errorf("a value of %d bytes is %w of %d bytes", n, ErrTooLarge, limit)
	}
	return nil
}

// Notify makes the attempt look at its outputs again. It may be called from any
// goroutine.
func (rt *Runtime) Notify() { rt.a.slot.inbox.poke() }

// Err is why state can no longer be used: the attempt was taken away while user
// code ran.
func (rt *Runtime) Err() error { return rt.a.stopped }
