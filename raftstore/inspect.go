package raftstore

import (
	"fmt"
	"io"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// SnapshotInfo is what a snapshot file holds.
type SnapshotInfo struct {
	// ClusterID is the cluster that it was taken of; empty in one that [Refound]
	// made.
	ClusterID string
	// Index and Term are of the last entry in it.
	Index, Term uint64
	// Sum is the last checksum, which covers every byte before it.
	Sum uint32
	// Bytes of the state by kind: job, node, request, meta, keyed.
	Bytes map[string]uint64
	Jobs  []SnapshotJob
}

// SnapshotJob is a job in a snapshot.
type SnapshotJob struct {
	Summary *holdfastv1.JobSummary
	// Checkpoints are the pending one and the decided ones, newest first.
	Checkpoints []*holdfastv1.Checkpoint
	// KeyedBytes are keys and values of its live state.
	KeyedBytes uint64
}

// InspectSnapshot reads a whole snapshot, checks every checksum and decodes all
// of it, as a node that loads it would.
//
// # Errors
//
// ErrBadSnapshot, with the place, if it is damaged, cut short, no snapshot or of
// another version.
func InspectSnapshot(in io.Reader) (SnapshotInfo, error) {
	info, _, err := decodeSnapshot(in)
	return info, err
}

// decodeSnapshot builds the state machine of a snapshot.
func decodeSnapshot(in io.Reader) (SnapshotInfo, *fsm, error) {
	r, err := newSnapshotReader(in)
	if err != nil {
		return SnapshotInfo{}, nil, err
	}
	f := newFSM()
	f.sizes = map[string]uint64{}
	err = f.Restore(r)
	if bad := r.verified(); err == nil || bad != nil {
		// What the checksums say is the cause of what the state machine says.
		err = bad
	}
	if err != nil {
		return SnapshotInfo{}, nil, fmt.Errorf("snapshot of cluster %s at index %d: %w", r.header.ClusterID, r.header.Index, err)
	}
	info := SnapshotInfo{ClusterID: r.header.ClusterID, Index: r.header.Index, Term: r.header.Term, Sum: r.last, Bytes: f.sizes}
	records := uint64(0)
	for _, n := range f.sizes {
		records += n
	}
	info.Bytes["keyed"] = r.total - records
	for _, s := range f.machine.Summaries() {
		j := SnapshotJob{Summary: s}
		j.Checkpoints, _ = f.machine.Checkpoints(s.JobId)
		for _, id := range f.machine.SubtasksOf(s.JobId) {
			j.KeyedBytes += f.keyed.Bytes(id)
		}
		info.Jobs = append(info.Jobs, j)
	}
	return info, f, nil
}
