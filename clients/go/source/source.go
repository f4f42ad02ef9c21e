// Package source is the contract between Holdfast and what it reads from: a
// source has splits, and a reader delivers the records of some of them in
// batches, each record with its split and its offset.
//
// The packages kafka, file and datagen implement it; a program can bring its
// own.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Spec names what a source reads. It becomes a part of the job's
// specification, so it never carries secrets.
type Spec struct {
	// Connector is "kafka", "file", "datagen", or a name of the program's own.
	Connector string
	// Topics are Kafka topics, or paths.
	Topics []string
	// Properties are for display and for telling two jobs apart.
	Properties map[string]string
}

// Split is one independently readable part of a source, for example a Kafka
// partition.
type Split struct {
	Topic     string
	Partition uint32
	// StartOffset is the next offset to read. It counts only where Resolved is
	// set.
	StartOffset int64
	// Resolved tells that StartOffset is a number to be used as it is. A split
	// without one is resolved by Open.
	Resolved bool
}

// Position is where reading one split goes on.
type Position struct {
	// NextOffset is the offset of the next record to read, never of the last
	// one read.
	NextOffset int64
	// LeaderEpoch is Kafka's leader epoch of the last record read, -1 if
	// unknown.
	LeaderEpoch int32
}

// Source makes readers. Its methods are called from several goroutines.
type Source interface {
	// Spec describes the source. An error means that its configuration can
	// never work; it ends the program before a job is made.
	Spec() (Spec, error)
	// DiscoverSplits lists every split. With ResolveOffsets each one carries a
	// start offset as a number, without it none does.
	//
	// # Errors
	//
	// ErrSourceNotFound where the source does not exist, ErrPermanent where
	// trying again is of no use. Where the outside is merely down it logs,
	// waits and tries again until ctx ends.
	DiscoverSplits(ctx context.Context, options DiscoverOptions) ([]Split, error)
	// Open begins reading the given splits at their start offsets. A split
	// that is not Resolved is resolved now. Open may wait for the outside
	// until ctx ends.
	//
	// # Errors
	//
	// *OffsetOutOfRangeError, ErrSourceNotFound, or any other.
	Open(ctx context.Context, options OpenOptions) (Reader, error)
}

// DiscoverOptions tell a source how to list its splits.
type DiscoverOptions struct {
	// ResolveOffsets asks for start offsets as numbers.
	ResolveOffsets bool
	Logger         *slog.Logger
}

// OpenOptions tell a source what to read.
type OpenOptions struct {
	// Splits are what this reader reads. Records name them by their index here.
	Splits []Split
	// CheckpointsEnabled tells whether positions will be committed for display.
	CheckpointsEnabled bool
	Logger             *slog.Logger
}

// Reader reads some splits of a source. Poll, Positions and Close are called
// by one goroutine; CommitForDisplay may be called by another one meanwhile.
type Reader interface {
	// Poll appends at most max records to b. It returns as soon as it has some,
	// and without any after at most 100 ms or when ctx ends. io.EOF, with or
	// without records, means that a bounded source is at its end.
	Poll(ctx context.Context, b *Batch, max int) error
	// Positions appends one position a split, in the order of the splits: what
	// the next Poll would read. It may be beyond the last record's offset + 1,
	// where offsets have gaps, and never below.
	Positions(dst []Position) []Position
	// CommitForDisplay publishes the positions of a decided checkpoint where
	// people look for them, for example as a Kafka group's offsets. It returns
	// at once, and failing is no error: nothing is ever read back from there
	// while the job lives.
	CommitForDisplay(positions []Position)
	Close() error
}

// ErrSourceNotFound means that what the source names does not exist.
var ErrSourceNotFound = errors.New("source not found")

// ErrPermanent means that a call can never succeed as it is configured.
var ErrPermanent = errors.New("source cannot be read as configured")

// OffsetOutOfRangeError means that the source no longer has, or does not yet
// have, the offset that reading is to go on from.
type OffsetOutOfRangeError struct {
	Topic     string
	Partition uint32
	// Offset is the one asked for.
	Offset int64
	// First is the first offset that the source still has.
	First int64
}

// Error implements error.
func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("offset %d of %s[%d] is out of range: the first one available is %d; `holdfast resume --accept-gap` goes on from there, `holdfast cancel` gives up",
		e.Offset, e.Topic, e.Partition, e.First)
}
