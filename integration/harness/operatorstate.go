package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// OperatorStateUID is the operator with operator state that OperatorConfig.Generation
// puts before the counter. With the record at an offset it does this:
const (
	OperatorStateUID = "keeper"
	// SplitState gets each KeptEvery-th record, as KeptRecord.
	SplitState = "kept"
	// UnionState has, of each partition, how many records were processed.
	UnionState = "processed"
	// BroadcastState has Rules entries, and one for each generation so far.
	BroadcastState = "rules"

	KeptEvery = 32
	Rules     = 8
	// UnionFormat is an element of UnionState.
	UnionFormat = "%d:%d"
	// RestoredLine begins a line with attempt, subtask and how many elements of
	// SplitState it begins with.
	RestoredLine = "restored"
)

// KeptRecord is an element of SplitState.
func KeptRecord(partition uint32, offset int64) string {
	return fmt.Sprintf("%d@%d", partition, offset)
}

// KeptRecords are the elements of SplitState of all subtasks, sorted, behind the records
// up to positions.
func KeptRecords(to map[uint32]int64) (kept []string) {
	for p, end := range to {
		for o := int64(0); o < end; o += KeptEvery {
			kept = append(kept, KeptRecord(p, o))
		}
	}
	slices.Sort(kept)
	return kept
}

// RuleName and GenerationName are keys of BroadcastState.
func RuleName(i int) string { return fmt.Sprintf("rule-%d", i) }

// GenerationName is the key of a job of a row that was restored one from another.
func GenerationName(n int) string { return fmt.Sprintf("generation-%d", n) }

// OperatorStateEntry is an entry of an operator state in a snapshot. Of a list the key
// is the place.
type OperatorStateEntry struct{ Key, Value string }

// SnapshotOperatorState reads an operator state of a snapshot through one node, by
// subtask; the error is the cluster's.
func (c *Cluster) SnapshotOperatorState(node int, path, uid, state string) (map[uint32][]OperatorStateEntry, error) {
	c.t.Helper()
	var out map[uint32][]OperatorStateEntry
	err := c.OnWithin(node, snapshotTimeout, func(ctx context.Context, conn *grpc.ClientConn) error {
		out = map[uint32][]OperatorStateEntry{}
		s, err := holdfastv1.NewStateServiceClient(conn).ReadSnapshot(ctx, &holdfastv1.ReadSnapshotRequest{Path: path, OperatorUid: uid, StateName: state})
		for err == nil {
			var r *holdfastv1.ReadSnapshotResponse
			if r, err = s.Recv(); err != nil {
				break
			}
			for _, e := range r.Entries {
				out[e.KeyGroup] = append(out[e.KeyGroup], OperatorStateEntry{string(e.Key), string(e.Value)})
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	return out, err
}

// CheckOperatorState compares the operator states of a snapshot with the records up to
// its positions, after so many generations at the parallelism given: of all subtasks
// together the lists have each element once, and each map is the same.
func (f *Feed) CheckOperatorState(c *Cluster, node int, path string, to map[uint32]int64, generation, parallelism int) error {
	var processed []string
	for p, end := range to {
		processed = append(processed, fmt.Sprintf(UnionFormat, p, end))
	}
	slices.Sort(processed)
	for state, want := range map[string][]string{SplitState: KeptRecords(to), UnionState: processed} {
		got, err := c.SnapshotOperatorState(node, path, OperatorStateUID, state)
		if err != nil {
			return err
		}
		var all []string
		for _, list := range got {
			for i, e := range list {
				if place := binary.BigEndian.Uint64([]byte(e.Key)); place != uint64(i) {
					return fmt.Errorf("%s: element %d has the place %d", state, i, place)
				}
				all = append(all, strings.TrimSpace(e.Value))
			}
		}
		slices.Sort(all)
		if !slices.Equal(all, want) {
			return fmt.Errorf("%s has %d elements, want %d: %s", state, len(all), len(want), firstDifference(all, want))
		}
	}
	return c.checkBroadcast(node, path, generation, parallelism)
}

func (c *Cluster) checkBroadcast(node int, path string, generation, parallelism int) error {
	want := map[string]int64{}
	for i := range Rules {
		want[RuleName(i)] = int64(i)
	}
	for n := 1; n <= generation; n++ {
		want[GenerationName(n)] = int64(n)
	}
	got, err := c.SnapshotOperatorState(node, path, OperatorStateUID, BroadcastState)
	if err != nil {
		return err
	}
	if len(got) != parallelism {
		return fmt.Errorf("%d subtasks have the broadcast state, want %d", len(got), parallelism)
	}
	for subtask, entries := range got {
		have := map[string]int64{}
		for _, e := range entries {
			have[e.Key] = mustInt64(c, e.Key, []byte(e.Value))
		}
		if d := Difference(have, want); d != "" {
			return fmt.Errorf("the broadcast state of subtask %d: %s", subtask, d)
		}
	}
	return nil
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%q is missing", want[i])
		case i >= len(want):
			return fmt.Sprintf("%q is too much", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("%q where %q should be", got[i], want[i])
		}
	}
	return "none"
}
