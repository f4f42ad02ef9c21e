package stateserver

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// Checkpoints and savepoints are read by their directory, without their job, by
// whichever node is asked.

// DescribeSnapshot implements holdfastv1.StateService.
func (t *stateService) DescribeSnapshot(ctx context.Context, r *holdfastv1.DescribeSnapshotRequest) (*holdfastv1.DescribeSnapshotResponse, error) {
	s, err := t.open(ctx, r.Path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	d, err := s.Describe(ctx)
	if err != nil {
		return nil, toStatus(fromStorage("the snapshot cannot be read", err))
	}
	return &holdfastv1.DescribeSnapshotResponse{Snapshot: d}, nil
}

// open opens the snapshot that somebody names.
func (t *stateService) open(ctx context.Context, path string) (*snapshots.Reader, error) {
	path = strings.TrimSuffix(path, "/"+storage.MetadataName)
	url, e := coordinator.NormalizeDirectory(path)
	if e != nil {
		return nil, toStatus(e)
	}
	s, err := t.s.states.openSnapshot(ctx, url)
	if err != nil {
		return nil, toStatus(fromStorage("the snapshot cannot be read", err))
	}
	return s, nil
}

// ReadSnapshot implements holdfastv1.StateService.
func (t *stateService) ReadSnapshot(r *holdfastv1.ReadSnapshotRequest, out grpc.ServerStreamingServer[holdfastv1.ReadSnapshotResponse]) error {
	if len(r.Keys) > maxGetKeys {
		return invalidRequest("keys", fmt.Sprintf("%d keys, at most %d are allowed; read them in several calls", len(r.Keys), maxGetKeys))
	}
	ctx := out.Context()
	s, err := t.open(ctx, r.Path)
	if err != nil {
		return err
	}
	defer s.Close()
	d := s.State(r.OperatorUid, r.StateName)
	if od := s.OperatorState(r.OperatorUid, r.StateName); od != nil {
		return readOperatorState(ctx, s, od, r, out.Send)
	}
	if d == nil {
		return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND,
			fmt.Sprintf("the snapshot has no state %q of operator %q; it has: %s", cut(r.StateName, maxShownBytes), cut(r.OperatorUid, maxShownBytes), s.StateNames())))
	}
	es := s.Entries(ctx, []snapshots.Wanted{{OperatorUID: r.OperatorUid, StateName: r.StateName, Number: 1}}, 0, coordinator.MaxParallelism)
	defer es.Close()
	if err := sendEntries(es, r, &holdfastv1.ReadSnapshotResponse{StateDescriptor: d}, out.Send); err != nil {
		return err
	}
	if err := es.Err(); err != nil {
		return toStatus(fromStorage("the snapshot cannot be read", err))
	}
	return nil
}

// sendEntries sends entries in messages of a bounded size, of which m is the first.
func sendEntries(es backend.Entries, r *holdfastv1.ReadSnapshotRequest, m *holdfastv1.ReadSnapshotResponse, send func(*holdfastv1.ReadSnapshotResponse) error) error {
	wanted := map[string]bool{}
	for _, k := range r.Keys {
		wanted[string(k)] = true
	}
	size, sent := 0, false
	for es.Next() {
		e := es.Entry()
		if len(wanted) > 0 && !wanted[string(e.Key)] {
			continue
		}
		x := &holdfastv1.StateEntry{Key: append([]byte{}, e.Key...), Found: true, KeyGroup: e.KeyGroup}
		if !r.KeysOnly {
			x.Value = append([]byte{}, e.Value...)
		}
		n := len(x.Key) + len(x.Value) + entryOverheadBytes
		if size+n > maxReadBytes && len(m.Entries) > 0 {
			if err := send(m); err != nil {
				return err
			}
			m, size, sent = &holdfastv1.ReadSnapshotResponse{}, 0, true
		}
		m.Entries = append(m.Entries, x)
		size += n
	}
	if len(m.Entries) == 0 && sent {
		return nil
	}
	return send(m)
}

// maxReadBytes bounds a message of ReadSnapshot.
const maxReadBytes = 256 << 10

// VerifySnapshot implements holdfastv1.StateService.
func (t *stateService) VerifySnapshot(r *holdfastv1.VerifySnapshotRequest, out grpc.ServerStreamingServer[holdfastv1.VerifySnapshotResponse]) error {
	s, err := t.open(out.Context(), r.Path)
	if err != nil {
		return err
	}
	defer s.Close()
	report, err := s.Verify(out.Context())
	for _, p := range report.Problems {
		if err := out.Send(&holdfastv1.VerifySnapshotResponse{Finding: &holdfastv1.VerifySnapshotResponse_Problem{Problem: &holdfastv1.SnapshotProblem{
			Path: p.Path, Fault: faults[p.Fault], Detail: p.Detail, OperatorUid: p.OperatorUID, SubtaskIndex: p.Subtask,
		}}}); err != nil {
			return err
		}
	}
	if err != nil {
		return toStatus(fromStorage("the verification was not finished", err))
	}
	return out.Send(&holdfastv1.VerifySnapshotResponse{Finding: &holdfastv1.VerifySnapshotResponse_Verified{Verified: &holdfastv1.SnapshotVerified{
		Files: uint64(report.Files), Bytes: uint64(report.Bytes), Problems: uint32(len(report.Problems)),
	}}})
}

// faults are those of package metadata.
var faults = map[metadata.Fault]holdfastv1.SnapshotFault{
	metadata.Missing:   holdfastv1.SnapshotFault_SNAPSHOT_FAULT_MISSING,
	metadata.Truncated: holdfastv1.SnapshotFault_SNAPSHOT_FAULT_TRUNCATED,
	metadata.TooLong:   holdfastv1.SnapshotFault_SNAPSHOT_FAULT_TOO_LONG,
	metadata.Flipped:   holdfastv1.SnapshotFault_SNAPSHOT_FAULT_FLIPPED,
	metadata.Foreign:   holdfastv1.SnapshotFault_SNAPSHOT_FAULT_FOREIGN,
}
