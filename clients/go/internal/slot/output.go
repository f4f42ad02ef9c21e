package slot

import (
	"context"
	"fmt"
	"io"
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Output is bytes on their way out: they are held back until they may be seen.
type Output struct {
	W   io.Writer
	Buf []byte
	// Sink tells what became of what W took; nil: it is out when W returns.
	Sink Sink
	// Waits tells that a checkpoint is ready only when Sink is safe at its cut.
	Waits bool
}

// Sink is what an attempt asks of a writer that works beside it.
type Sink interface {
	// Mark ends a generation of what was written and returns its number.
	Mark() uint64
	// Safe is the newest generation that, with all before it, cannot be lost. An error
	// ends the attempt.
	Safe() (uint64, error)
	// Full tells that no more should be written for now.
	Full() bool
}

// pendingOutput may be seen once everything through seq is durable.
type pendingOutput struct {
	seq uint64
	w   io.Writer
	buf []byte
}

// writeOutputs writes what the records so far have put out.
func (a *attempt) writeOutputs() error {
	for _, o := range a.task.Outputs() {
		if len(o.Buf) == 0 {
			continue
		}
		if err := write(o.W, o.Buf); err != nil {
			return err
		}
		o.Buf = o.Buf[:0]
	}
	return nil
}

// release writes the output that everything through seq allows.
func (a *attempt) release(seq uint64) error {
	for len(a.outputs) > 0 && a.outputs[0].seq <= seq {
		o := a.outputs[0]
		a.outputs = a.outputs[1:]
		if err := write(o.w, o.buf); err != nil {
			return err
		}
	}
	return nil
}

func write(w io.Writer, buf []byte) error {
	if _, err := w.Write(buf); err != nil {
		return userFailure(fmt.Errorf("write output: %w", err))
	}
	return nil
}

// mark is a generation of a sink that has to be safe.
type mark struct {
	sink       Sink
	generation uint64
}

// markSinks ends a generation of what was put out so far: of every sink where the job
// may end, else of those that checkpoints wait for.
func (a *attempt) markSinks(all bool) []mark {
	var marks []mark
	for _, o := range a.task.Outputs() {
		if o.Sink != nil && (all || o.Waits) {
			marks = append(marks, mark{o.Sink, o.Sink.Mark()})
		}
	}
	return marks
}

// checkSinks fails the attempt for a sink that failed.
func (a *attempt) checkSinks() error {
	if a.task == nil {
		return nil
	}
	for _, o := range a.task.Outputs() {
		if o.Sink == nil {
			continue
		}
		if _, err := o.Sink.Safe(); err != nil {
			return &failure{
				class:  holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL,
				reason: holdfastv1.ErrorReason_ERROR_REASON_EXTERNAL, err: err,
			}
		}
	}
	return nil
}

func (a *attempt) hasSinks() bool {
	return a.task != nil && slices.ContainsFunc(a.task.Outputs(), func(o *Output) bool { return o.Sink != nil })
}

// sinksFull tells that no further record should be processed for now.
func (a *attempt) sinksFull() bool {
	for _, o := range a.task.Outputs() {
		if o.Sink != nil && o.Sink.Full() {
			return true
		}
	}
	return false
}

// settleSinks waits until everything that was put out is safe.
func (a *attempt) settleSinks(ctx context.Context) error {
	for marks := a.markSinks(true); !safe(marks); {
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
