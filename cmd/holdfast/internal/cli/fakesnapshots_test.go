package cli

import (
	"context"
	"encoding/binary"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The snapshots that a fakeNode has, by their last element: a, b as a later one of the
// same job, same with the contents of a, groups with other key groups, torn whose
// state breaks off, bad with files that are wrong, and k1 and k2 with operator state.
const fakeSnapshots = "file:///sp/"

func noSnapshot(path string) error {
	switch path {
	case "file:///elsewhere":
		return refusal(codes.PermissionDenied, holdfastv1.ErrorReason_ERROR_REASON_PATH_NOT_ALLOWED, "the directory file:///elsewhere is not below an allowed root (file:///sp)")
	case fakeSnapshots + "a", fakeSnapshots + "b", fakeSnapshots + "same", fakeSnapshots + "groups", fakeSnapshots + "torn", fakeSnapshots + "bad", fakeSnapshots + "short", fakeSnapshots + "k1", fakeSnapshots + "k2":
		return nil
	}
	return refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, "there is no "+path+"/_metadata")
}

func valueState() *holdfastv1.StateDescriptor {
	return &holdfastv1.StateDescriptor{Name: "counters", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}
}

func listState() *holdfastv1.StateDescriptor {
	return &holdfastv1.StateDescriptor{Name: "words", Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "string"}
}

func (f *fakeNode) DescribeSnapshot(_ context.Context, r *holdfastv1.DescribeSnapshotRequest) (*holdfastv1.DescribeSnapshotResponse, error) {
	if err := noSnapshot(r.GetPath()); err != nil {
		return nil, err
	}
	states := []*holdfastv1.SnapshotStateDescription{{State: valueState(), Entries: proto.Uint64(3), Bytes: proto.Uint64(2048)}}
	groups := uint32(128)
	switch strings.TrimPrefix(r.GetPath(), fakeSnapshots) {
	case "b":
		states = append(states, &holdfastv1.SnapshotStateDescription{State: listState()})
	case "groups":
		groups = 64
	}
	if len(keptIn(r.GetPath())) > 0 {
		return &holdfastv1.DescribeSnapshotResponse{Snapshot: &holdfastv1.SnapshotDescription{Path: r.GetPath(), Operators: []*holdfastv1.SnapshotOperatorDescription{
			{Operator: &holdfastv1.Operator{Uid: "keeper", MaxParallelism: 128, OperatorStates: []*holdfastv1.OperatorStateDescriptor{keptState, rulesState}},
				OperatorStates: []*holdfastv1.SnapshotOperatorStateDescription{{State: keptState, Entries: proto.Uint64(3), Bytes: proto.Uint64(18)}, {State: rulesState}}},
		}}}, nil
	}
	return &holdfastv1.DescribeSnapshotResponse{Snapshot: &holdfastv1.SnapshotDescription{Path: r.GetPath(), Operators: []*holdfastv1.SnapshotOperatorDescription{
		{Operator: &holdfastv1.Operator{Uid: "mapper", MaxParallelism: groups, States: descriptors(states)}, States: states},
	}}}, nil
}

var (
	keptState  = &holdfastv1.OperatorStateDescriptor{Name: "kept", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE, Type: "string", TypeVersion: 2}
	rulesState = &holdfastv1.OperatorStateDescriptor{Name: "rules", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST, Type: "int64", MapKeyType: "int64"}
)

// keptIn are the list elements of two subtasks.
func keptIn(path string) []*holdfastv1.StateEntry {
	element := func(subtask uint32, place uint64, text string) *holdfastv1.StateEntry {
		return &holdfastv1.StateEntry{KeyGroup: subtask, Key: binary.BigEndian.AppendUint64(nil, place), Value: []byte(text), Found: true}
	}
	switch path {
	case fakeSnapshots + "k1":
		return []*holdfastv1.StateEntry{element(0, 0, "a"), element(0, 1, "b"), element(1, 0, "c")}
	case fakeSnapshots + "k2":
		return []*holdfastv1.StateEntry{element(0, 0, "a"), element(0, 1, "x"), element(1, 0, "c"), element(1, 1, "d")}
	}
	return nil
}

func descriptors(states []*holdfastv1.SnapshotStateDescription) (out []*holdfastv1.StateDescriptor) {
	for _, s := range states {
		out = append(out, s.GetState())
	}
	return out
}

func number(group uint32, key string, n int64) *holdfastv1.StateEntry {
	return &holdfastv1.StateEntry{KeyGroup: group, Key: []byte(key), Value: binary.LittleEndian.AppendUint64(nil, uint64(n)), Found: true}
}

func (f *fakeNode) ReadSnapshot(r *holdfastv1.ReadSnapshotRequest, s grpc.ServerStreamingServer[holdfastv1.ReadSnapshotResponse]) error {
	if err := noSnapshot(r.GetPath()); err != nil {
		return err
	}
	if kept := keptIn(r.GetPath()); len(kept) > 0 {
		m := &holdfastv1.ReadSnapshotResponse{OperatorState: keptState, StateDescriptor: &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "string"}, Entries: kept}
		if r.GetStateName() == "rules" {
			m.OperatorState, m.StateDescriptor.Type = rulesState, "int64"
			m.Entries = []*holdfastv1.StateEntry{number(0, "\x07\x00\x00\x00\x00\x00\x00\x00", 49), number(1, "\x07\x00\x00\x00\x00\x00\x00\x00", 49)}
		}
		if len(r.GetKeys()) > 0 {
			m.Entries = keep(m.Entries, r.GetKeys())
		}
		return s.Send(m)
	}
	if r.GetStateName() != "counters" {
		return s.Send(&holdfastv1.ReadSnapshotResponse{StateDescriptor: listState(), Entries: []*holdfastv1.StateEntry{
			{Key: []byte("k"), Value: []byte("\x01\x00\x00\x00x\x02\x00\x00\x00yz"), Found: true}}})
	}
	entries := []*holdfastv1.StateEntry{number(1, "zeta", 1), number(2, "alpha", 2), number(2, "beta", 3)}
	if r.GetPath() == fakeSnapshots+"b" {
		entries = []*holdfastv1.StateEntry{number(1, "zeta", 1), number(2, "beta", 4), number(2, "gamma", 5)}
	}
	if len(r.GetKeys()) > 0 {
		entries = keep(entries, r.GetKeys())
	}
	// One message each: where it is cut means nothing.
	if err := s.Send(&holdfastv1.ReadSnapshotResponse{StateDescriptor: valueState()}); err != nil {
		return err
	}
	for i, e := range entries {
		if i == 1 && r.GetPath() == fakeSnapshots+"torn" {
			return refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, "chk-7/f1 is truncated")
		}
		if err := s.Send(&holdfastv1.ReadSnapshotResponse{Entries: []*holdfastv1.StateEntry{e}}); err != nil {
			return err
		}
	}
	return nil
}

func keep(entries []*holdfastv1.StateEntry, keys [][]byte) (out []*holdfastv1.StateEntry) {
	for _, e := range entries {
		for _, k := range keys {
			if string(k) == string(e.GetKey()) {
				out = append(out, e)
			}
		}
	}
	return out
}

func (f *fakeNode) VerifySnapshot(r *holdfastv1.VerifySnapshotRequest, s grpc.ServerStreamingServer[holdfastv1.VerifySnapshotResponse]) error {
	if err := noSnapshot(r.GetPath()); err != nil {
		return err
	}
	var problems []*holdfastv1.SnapshotProblem
	if r.GetPath() == fakeSnapshots+"bad" {
		problems = []*holdfastv1.SnapshotProblem{
			{Path: "f1", Fault: holdfastv1.SnapshotFault_SNAPSHOT_FAULT_MISSING, OperatorUid: "mapper"},
			{Path: "f2", Fault: holdfastv1.SnapshotFault_SNAPSHOT_FAULT_TRUNCATED, Detail: "3 of 9 bytes", OperatorUid: "mapper", SubtaskIndex: 1},
			{Path: "f3", Fault: holdfastv1.SnapshotFault_SNAPSHOT_FAULT_FLIPPED, OperatorUid: "mapper", SubtaskIndex: 1},
			{Path: "f4", Fault: holdfastv1.SnapshotFault_SNAPSHOT_FAULT_FOREIGN},
		}
	}
	for _, p := range problems {
		if err := s.Send(&holdfastv1.VerifySnapshotResponse{Finding: &holdfastv1.VerifySnapshotResponse_Problem{Problem: p}}); err != nil {
			return err
		}
	}
	if r.GetPath() == fakeSnapshots+"short" {
		return nil
	}
	return s.Send(&holdfastv1.VerifySnapshotResponse{Finding: &holdfastv1.VerifySnapshotResponse_Verified{
		Verified: &holdfastv1.SnapshotVerified{Files: 4, Bytes: 2048, Problems: uint32(len(problems))}}})
}

func (f *fakeNode) TriggerSavepoint(_ context.Context, r *holdfastv1.TriggerSavepointRequest) (*holdfastv1.TriggerSavepointResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.savepoints = append(f.savepoints, r)
	if err := known(r.GetJob()); err != nil {
		return nil, err
	}
	if f.pending > 0 {
		f.pending--
		return nil, refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING, "checkpoint 7 is pending")
	}
	return &holdfastv1.TriggerSavepointResponse{OperationId: "savepoint", CheckpointId: 8}, nil
}

func (f *fakeNode) Stop(_ context.Context, r *holdfastv1.StopRequest) (*holdfastv1.StopResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stops = append(f.stops, r)
	return &holdfastv1.StopResponse{OperationId: "savepoint", CheckpointId: 8}, known(r.GetJob())
}

func (f *fakeNode) DisposeSavepoint(_ context.Context, r *holdfastv1.DisposeSavepointRequest) (*holdfastv1.DisposeSavepointResponse, error) {
	return &holdfastv1.DisposeSavepointResponse{Files: 3}, noSnapshot(r.GetPath())
}

// savepoint is the outcome of an operation "savepoint".
func savepoint() *holdfastv1.Checkpoint {
	c := checkpoint(8)
	c.Kind, c.ExternalPath, c.SavepointPath = holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT, "file:///c/job/chk-8", "file:///sp/savepoint-8"
	c.Acks[0].UploadedBytes = 4096
	return c
}
