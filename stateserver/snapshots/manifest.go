package snapshots

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// manifestOf is the manifest of a completed checkpoint, without the state of its
// subtasks.
func manifestOf(snap *coordinator.Snapshot, kind holdfastv1.SnapshotKind) *holdfastv1.CheckpointMetadata {
	m := &holdfastv1.CheckpointMetadata{
		HoldfastVersion: version.Version, JobId: snap.JobID, JobName: snap.JobName, Lineage: snap.JobID,
		CheckpointId: snap.Checkpoint.Id, TimestampMs: snap.Checkpoint.TriggeredMs, Kind: kind,
	}
	for _, o := range snap.Spec.Operators {
		op := &holdfastv1.OperatorSnapshot{Operator: proto.CloneOf(o), Positions: positionsOf(snap, o.Uid)}
		if v := vertexOf(snap, o.Uid); v != nil && len(o.States) > 0 {
			op.Operator.MaxParallelism = v.KeyGroups
		}
		m.Operators = append(m.Operators, op)
	}
	return m
}

// vertexOf is the chain of an operator.
func vertexOf(snap *coordinator.Snapshot, uid string) *coordinator.SnapshotVertex {
	for i := range snap.Vertices {
		if slices.Contains(snap.Vertices[i].Chain, uid) {
			return &snap.Vertices[i]
		}
	}
	return nil
}

func positionsOf(snap *coordinator.Snapshot, uid string) []*holdfastv1.Position {
	var out []*holdfastv1.Position
	for _, a := range snap.Checkpoint.Acks {
		if a.OperatorUid == uid {
			for _, p := range a.Positions {
				out = append(out, proto.CloneOf(p))
			}
		}
	}
	slices.SortFunc(out, func(a, b *holdfastv1.Position) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// subtaskOf describes a subtask of a chain as it was, without its state. Only an
// operator with keyed state has key groups.
func subtaskOf(snap *coordinator.Snapshot, v *coordinator.SnapshotVertex, index int, keyed bool) *holdfastv1.SubtaskSnapshot {
	r := v.Subtasks[index]
	s := &holdfastv1.SubtaskSnapshot{Index: uint32(index)}
	if keyed {
		s.KeyGroupStart, s.KeyGroupEnd = r.Start, r.End
	}
	if a := ackOf(snap, r.ID); a != nil {
		s.FencingToken = a.FencingToken
	}
	return s
}

func ackOf(snap *coordinator.Snapshot, subtask uint64) *holdfastv1.SubtaskAck {
	for _, a := range snap.Checkpoint.Acks {
		if a.SubtaskId == subtask {
			return a
		}
	}
	return nil
}

// statesOf are the states of an operator with their numbers, in the order of these.
func statesOf(v *coordinator.SnapshotVertex, uid string) []*holdfastv1.StateId {
	var out []*holdfastv1.StateId
	for _, id := range v.StateIDs {
		if id.OperatorUid == uid {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b *holdfastv1.StateId) int { return cmp.Compare(a.Id, b.Id) })
	return out
}

// Native is the manifest of a checkpoint whose files the state backend wrote: it
// names them and needs none of its own.
func Native(snap *coordinator.Snapshot) *holdfastv1.CheckpointMetadata {
	m := manifestOf(snap, holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT)
	for _, op := range m.Operators {
		v := vertexOf(snap, op.Operator.Uid)
		ids := []*holdfastv1.StateId(nil)
		if v != nil {
			ids = statesOf(v, op.Operator.Uid)
		}
		if len(ids) == 0 && len(op.Operator.OperatorStates) == 0 || v == nil {
			continue
		}
		for i := range v.Subtasks {
			s := subtaskOf(snap, v, i, len(ids) > 0)
			if x := nativeSnapshot(snap, v.Subtasks[i].ID, ids); x != nil {
				s.Snapshots = append(s.Snapshots, x)
			}
			if len(op.Operator.OperatorStates) > 0 {
				s.OperatorState = nativeOperatorState(coordinator.OperatorStatePart(ackOf(snap, v.Subtasks[i].ID).GetHandles()), op.Operator.Uid)
			}
			op.Subtasks = append(op.Subtasks, s)
		}
	}
	return m
}

// nativeSnapshot is what a subtask acked, nil if it had no state.
func nativeSnapshot(snap *coordinator.Snapshot, subtask uint64, ids []*holdfastv1.StateId) *holdfastv1.StateSnapshot {
	handles := coordinator.BackendParts(ackOf(snap, subtask).GetHandles())
	if len(handles) == 0 || len(ids) == 0 {
		return nil
	}
	x := &holdfastv1.StateSnapshot{Backend: snap.Spec.StateBackend.GetName(), Format: handles[0].Format}
	if x.Format == "" {
		x.Format = x.Backend
	}
	for _, id := range ids {
		x.States, x.StateIds = append(x.States, id.StateName), append(x.StateIds, id.Id)
	}
	for _, h := range handles {
		f := &holdfastv1.SnapshotFile{Name: h.Name, Handle: contentOf(h)}
		if h.Format != x.Format {
			f.Format = h.Format
		}
		if h.File != "" {
			f.Shared = strings.HasPrefix(h.File, storage.SharedDir+"/")
		}
		x.Files = append(x.Files, f)
	}
	return x
}

// contentOf names a part of an ack, nil for none.
func contentOf(h *holdfastv1.StateHandle) *holdfastv1.Content {
	switch {
	case h == nil:
		return nil
	case h.File == "":
		return &holdfastv1.Content{Handle: &holdfastv1.Content_Inline{Inline: h.Inline}}
	}
	return &holdfastv1.Content{Handle: &holdfastv1.Content_File{File: &holdfastv1.FileHandle{Path: h.File, Size: h.Size, Sha256: h.Sha256}}}
}
