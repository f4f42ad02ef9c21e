// Package sink is the contract between Holdfast and where output goes: a sink makes
// writers, and a writer takes batches of records and tells which of them are safe.
//
// The package kafka implements it; a program can bring its own.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// DeliveryGuarantee is what a reader of the output sees after failures, with Flink's
// names.
type DeliveryGuarantee int

const (
	// None gives no guarantee: output may be lost, and come twice.
	None DeliveryGuarantee = iota
	// AtLeastOnce loses nothing that a completed checkpoint has counted, and may write
	// it again after a failure. It needs checkpoints.
	AtLeastOnce
	// ExactlyOnce shows each record once to those who read committed ones.
	ExactlyOnce
)

// String is the name as Flink writes it.
func (g DeliveryGuarantee) String() string {
	switch g {
	case None:
		return "none"
	case AtLeastOnce:
		return "at-least-once"
	case ExactlyOnce:
		return "exactly-once"
	}
	return fmt.Sprintf("DeliveryGuarantee(%d)", int(g))
}

// Spec names what a sink writes to. It becomes a part of the job's specification, so
// it never carries secrets.
type Spec struct {
	// Connector is "kafka", or a name of the program's own.
	Connector string
	// Topics are Kafka topics, or paths.
	Topics    []string
	Guarantee DeliveryGuarantee
	// Properties are for display and for telling two jobs apart.
	Properties map[string]string
}

// ErrPermanent means that a sink can never work as it is configured.
var ErrPermanent = errors.New("sink cannot be written as configured")

// Sink makes writers. Its methods are called from several goroutines.
type Sink interface {
	// Spec describes the sink. An error means that its configuration can never work; it
	// ends the program before a job is made.
	Spec() (Spec, error)
	// Open makes the writer of one attempt. It waits for nothing outside.
	Open(ctx context.Context, options OpenOptions) (Writer, error)
}

// OpenOptions tell a sink what its writer is for.
type OpenOptions struct {
	Logger *slog.Logger
	// Notify is to be called, from any goroutine, when everything of a generation became
	// safe, when a writer that was full is no more, and when it failed.
	Notify func()
}

// Writer writes for one attempt. All methods but Close return at once, and are called
// by one goroutine.
type Writer interface {
	// Write takes every record of a batch, full or not. The batch is the caller's again
	// when Write returns.
	Write(Batch) error
	// Mark ends a generation: what was written since the last Mark belongs to it.
	// Generations are numbered from 1.
	Mark() uint64
	// Safe is the newest generation of which, and of all before it, every record is
	// where it cannot be lost; 0 is none.
	//
	// # Errors
	//
	// Some record will never be written. The attempt fails with it.
	Safe() (uint64, error)
	// Full tells that no more records should come for now.
	Full() bool
	// Close ends the writer and drops what is not written.
	Close() error
}
