package snapshots

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// CheckFits tells why a job cannot begin from the snapshot, nil if it can. allow lets
// it go on although the snapshot has state that the job has not. The specification is
// a normalized one.
func (r *Reader) CheckFits(spec *holdfastv1.JobSpec, allow bool) *holdfastv1.Error {
	for _, o := range r.snap.Metadata.Operators {
		uid := o.Operator.GetUid()
		i := slices.IndexFunc(spec.Operators, func(x *holdfastv1.Operator) bool { return x.Uid == uid })
		if i < 0 {
			if !allow && (len(o.Positions) > 0 || hasState(o) || hasOperatorState(o)) {
				return nonRestored(fmt.Sprintf("the snapshot has state of operator %q, which the job does not have", uid), "operator_uid", uid)
			}
			continue
		}
		if e := checkOperator(o, spec.Operators[i], allow); e != nil {
			return e
		}
	}
	return nil
}

func hasState(o *holdfastv1.OperatorSnapshot) bool {
	return slices.ContainsFunc(o.Subtasks, func(s *holdfastv1.SubtaskSnapshot) bool { return len(s.Snapshots) > 0 })
}

func hasOperatorState(o *holdfastv1.OperatorSnapshot) bool {
	return slices.ContainsFunc(o.Subtasks, func(s *holdfastv1.SubtaskSnapshot) bool { return s.OperatorState != nil })
}

// checkOperatorStates compares the operator states of an operator.
func checkOperatorStates(old *holdfastv1.OperatorSnapshot, now *holdfastv1.Operator, allow bool) *holdfastv1.Error {
	if e := coordinator.CheckOperatorStateKind(old.Operator, now); e != nil {
		return e
	}
	for _, d := range old.Operator.GetOperatorStates() {
		i := slices.IndexFunc(now.OperatorStates, func(x *holdfastv1.OperatorStateDescriptor) bool { return x.Name == d.GetName() })
		switch {
		case i >= 0:
			if e := coordinator.CheckOperatorStateRestorable(now.Uid, d, now.OperatorStates[i]); e != nil {
				return e
			}
		case !allow && hasOperatorState(old):
			return nonRestored(fmt.Sprintf("the snapshot has the operator state %q of operator %q, which the job does not declare", d.GetName(), now.Uid), "operator_uid", now.Uid, "state_name", d.GetName())
		}
	}
	var declared []coordinator.DeclaredOperatorState
	for _, d := range now.OperatorStates {
		declared = append(declared, coordinator.DeclaredOperatorState{OperatorUID: now.Uid, Descriptor: d})
	}
	return coordinator.CheckRestoredOperatorState(declared, operatorStateBytes(old), old.Operator.GetParallelism(), now.Parallelism)
}

func nonRestored(what string, kv ...string) *holdfastv1.Error {
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_NON_RESTORED_STATE,
		what+"; keep it in the program, or leave its state behind with --allow-non-restored-state (execution.state-recovery.ignore-unclaimed-state)", kv...)
}

func checkOperator(old *holdfastv1.OperatorSnapshot, now *holdfastv1.Operator, allow bool) *holdfastv1.Error {
	uid := now.Uid
	if e := checkOperatorStates(old, now, allow); e != nil {
		return e
	}
	restored := false
	for _, d := range old.Operator.GetStates() {
		i := slices.IndexFunc(now.States, func(x *holdfastv1.StateDescriptor) bool { return x.Name == d.GetName() })
		switch {
		case i >= 0:
			if e := coordinator.CheckRestorable(uid, d, now.States[i]); e != nil {
				return e
			}
			restored = true
		case !allow && hasState(old):
			return nonRestored(fmt.Sprintf("the snapshot has the state %q of operator %q, which the job does not declare", d.GetName(), uid), "operator_uid", uid, "state_name", d.GetName())
		}
	}
	if !restored {
		return nil
	}
	return checkKeyGroups(old.Operator, now)
}

// checkKeyGroups refuses what would put keys into other key groups. Those of a
// co-partitioned operator are the partitions of its source, whatever its parallelism.
func checkKeyGroups(old, now *holdfastv1.Operator) *holdfastv1.Error {
	what := ""
	switch was, is := coPartitioned(old), coPartitioned(now); {
	case was != is:
		kind := map[bool]string{true: "by the partition of the source (co-partitioned)", false: "by the hash of the key"}
		what = fmt.Sprintf("is partitioned %s in the snapshot, and %s in the job", kind[was], kind[is])
	case !was && old.GetMaxParallelism() != now.MaxParallelism:
		what = fmt.Sprintf("has the max parallelism %d in the snapshot, and %d in the job; set it to %d", old.GetMaxParallelism(), now.MaxParallelism, old.GetMaxParallelism())
	default:
		return nil
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE, fmt.Sprintf("operator %q %s", now.Uid, what), "operator_uid", now.Uid)
}

// CheckFiles looks whether every file is there with its size. What is in them shows
// when they are read.
func (r *Reader) CheckFiles(ctx context.Context) error {
	return checkFiles(ctx, r.files, r.snap.Metadata)
}

// checkFiles looks for the files of a manifest in what its paths are relative to.
func checkFiles(ctx context.Context, s storage.Storage, m *holdfastv1.CheckpointMetadata) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * storage.DefaultWorkers)
	for _, f := range metadata.Files(m) {
		g.Go(func() error {
			info, err := s.Stat(ctx, f.Handle.Path)
			if err == nil && info.Size != f.Handle.Size {
				err = &storage.Error{Op: "read", URL: storage.JoinURL(s.URL(), f.Handle.Path), Kind: storage.ErrCorrupt,
					Err: fmt.Errorf("it has %d bytes, and should have %d", info.Size, f.Handle.Size)}
			}
			if err != nil {
				return fmt.Errorf("the state of subtask %d of operator %q: %w", f.Subtask, f.OperatorUID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// CheckFormats refuses a snapshot in the format of a state backend that is none of
// known.
func (r *Reader) CheckFormats(known []string) error {
	for _, o := range r.snap.Metadata.Operators {
		for _, s := range o.Subtasks {
			for _, x := range s.Snapshots {
				if x.Format != CanonicalFormat && !slices.Contains(known, x.Backend) {
					return fmt.Errorf("the state of operator %q is in the format %q of the state backend %q, which this node does not have; take a savepoint of its job, which every backend can read",
						o.Operator.GetUid(), x.Format, x.Backend)
				}
			}
		}
	}
	return nil
}
