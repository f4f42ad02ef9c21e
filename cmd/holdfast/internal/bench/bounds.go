package bench

import (
	"errors"
	"fmt"
)

// Where the bounds come from: raftstore's defaults, with which the nodes of a
// measurement run, and the limits of the coordinator's machine.
const (
	snapshotThreshold = 8192 // entries after which a snapshot is taken
	snapshotLooks     = 20   // seconds until that is noticed, at most
	trailingLogs      = 1024 // entries that stay behind a snapshot
	snapshotFiles     = 3    // two are kept, and one is being written
	keptResults       = 1024 // of requests
	keptVersions      = 2    // of a subtask's state: of the retained checkpoint and of the pending one

	entryBytes     = 512       // of the log: an entry has less than 300 and pages are half full
	logStep        = 16 << 20  // by which bbolt makes its file longer
	resultBytes    = 112       // of a kept result with its request id
	jobRecordBytes = 16 << 10  // of a job with the history of its checkpoints
	imageBytes     = 256 << 10 // of checkpointKeys keys in 128 tables, with what these have to spare
	smallFileBytes = 256 << 10 // of a data directory beside log and snapshots
	anonymousBytes = 60 << 20  // what a node with an empty job may take
)

// Bound is what one column of the curve must keep to, and what it did.
type Bound struct {
	Curve string `json:"curve"`
	// Most is the largest of all rows, and Bound what it may be.
	Most  uint64 `json:"most"`
	Bound uint64 `json:"bound"`
	// Third and Fourth are the largest of the third and the fourth quarter of the
	// checkpoints, and Rise is by how much the fourth may exceed the third.
	Third  uint64 `json:"most_in_third_quarter"`
	Fourth uint64 `json:"most_in_fourth_quarter"`
	Rise   uint64 `json:"rise"`
	// Number tells that these are not bytes.
	Number bool `json:"number,omitempty"`
	// Why says where the bound comes from.
	Why string `json:"why"`
}

func (b Bound) check(level bool) error {
	if b.Most > b.Bound {
		return fmt.Errorf("%s: %d after some of the checkpoints, and the bound is %d: %s", b.Curve, b.Most, b.Bound, b.Why)
	}
	if level && b.Fourth > b.Third+b.Rise {
		return fmt.Errorf("%s: not level: at most %d in the third quarter of the checkpoints and %d in the fourth, and a rise of %d could be chance",
			b.Curve, b.Third, b.Fourth, b.Rise)
	}
	return nil
}

// Verdict is an error that names every column that does not keep to its bound.
func (r *CheckpointsReport) Verdict() error {
	var errs []error
	for _, b := range r.Bounds {
		errs = append(errs, b.check(r.Level))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("checkpoints leave something behind: %w", err)
	}
	return nil
}

// column is one that has a bound. The fourth quarter may exceed the third by rise
// and percent of the third.
type column struct {
	Bound
	of      func(CheckpointRow) uint64
	percent uint64
}

// judge compares every column with its bound. Whether a column is level can be told
// only of a run whose first half saw the log cut more than once.
func (r *CheckpointsReport) judge() {
	total := r.Curve[len(r.Curve)-1].Checkpoints
	half := r.Curve[0]
	for _, x := range r.Curve {
		if x.Checkpoints <= total/2 {
			half = x
		}
	}
	r.Level = half.Seconds >= 2*snapshotLooks && half.LogIndex >= 2*(snapshotThreshold+trailingLogs)
	for _, c := range r.columns() {
		b := c.Bound
		for _, x := range r.Curve {
			v := c.of(x)
			b.Most = max(b.Most, v)
			switch {
			case x.Checkpoints > total*3/4:
				b.Fourth = max(b.Fourth, v)
			case x.Checkpoints > total/2:
				b.Third = max(b.Third, v)
			}
		}
		b.Rise += b.Third * c.percent / 100
		r.Bounds = append(r.Bounds, b)
	}
}

func (r *CheckpointsReport) columns() []column {
	jobs := uint64(r.Jobs)
	records := keptResults*resultBytes + (jobs+1)*jobRecordBytes
	memory := jobs * (1 + keptVersions) * imageBytes
	log, snapshots := r.logBound(), snapshotFiles*(records+memory)
	return []column{
		{Bound{Curve: "raft.db", Bound: log, Rise: logStep, Why: "8,192 entries before a snapshot, those of the 20 s until that is noticed and 1,024 behind it, 512 bytes each, in steps of 16 MiB"},
			func(x CheckpointRow) uint64 { return x.LogBytes }, 0},
		{Bound{Curve: "snapshot files", Bound: snapshotFiles, Rise: 1, Number: true, Why: "two are kept, and one is being written"},
			func(x CheckpointRow) uint64 { return x.SnapshotFiles }, 0},
		{Bound{Curve: "snapshots", Bound: snapshots, Why: "three files with the records and the state"},
			func(x CheckpointRow) uint64 { return x.SnapshotBytes }, 60},
		{Bound{Curve: "coordinator's records", Bound: records, Rise: 4 << 10, Why: "1,024 results of requests of 112 bytes, 16 KiB a job with its history, 16 KiB of nodes"},
			func(x CheckpointRow) uint64 { return x.RecordBytes }, 5},
		{Bound{Curve: "versions", Bound: jobs * keptVersions, Number: true, Why: "of each job those of the retained and of the pending checkpoint"},
			func(x CheckpointRow) uint64 { return x.Versions }, 0},
		{Bound{Curve: "keyed state", Bound: memory, Why: "of each job three images of 1,000 keys, 256 KiB each: what lives and the versions"},
			func(x CheckpointRow) uint64 { return x.StateBytes }, 20},
		{Bound{Curve: "data directory", Bound: log + snapshots + smallFileBytes, Rise: logStep, Why: "raft.db, snapshots and 256 KiB of small files"},
			func(x CheckpointRow) uint64 { return x.DirectoryBytes }, 20},
		{Bound{Curve: "anonymous memory", Bound: anonymousBytes, Rise: 4 << 20, Why: "what a node with an empty job may take"},
			func(x CheckpointRow) uint64 { return x.Anonymous }, 0},
	}
}

// logBound is what raft.db may take at the highest rate of the run, which other work
// on the machine changes.
func (r *CheckpointsReport) logBound() uint64 {
	rate, from := 0.0, r.Curve[0]
	for _, x := range r.Curve {
		if took := x.Seconds - from.Seconds; took >= 1 {
			rate, from = max(rate, float64(x.LogIndex-from.LogIndex)/took), x
		}
	}
	entries := snapshotThreshold + trailingLogs + uint64(snapshotLooks*rate)
	return (entries*entryBytes/logStep + 1) * logStep
}
