package snapshots

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// Describe tells what is in the snapshot. Of files it reads headers only.
func (r *Reader) Describe(ctx context.Context) (*holdfastv1.SnapshotDescription, error) {
	m := r.snap.Metadata
	d := &holdfastv1.SnapshotDescription{
		Path: r.URL(), Kind: m.Kind, HoldfastVersion: m.HoldfastVersion, JobId: m.JobId, JobName: m.JobName,
		CheckpointId: m.CheckpointId, TimestampMs: m.TimestampMs,
	}
	for _, f := range metadata.Files(m) {
		d.Files++
		d.FileBytes += uint64(f.Handle.Size)
	}
	for _, o := range m.Operators {
		op := &holdfastv1.SnapshotOperatorDescription{Operator: proto.CloneOf(o.Operator)}
		for _, p := range o.Positions {
			op.Positions = append(op.Positions, proto.CloneOf(p))
		}
		for _, s := range o.Subtasks {
			x := describeSubtask(s)
			d.InlineBytes += x.InlineBytes
			op.Subtasks = append(op.Subtasks, x)
		}
		states, err := r.describeStates(ctx, o)
		if err != nil {
			return nil, err
		}
		op.States = states
		if op.OperatorStates, err = r.describeOperatorStates(ctx, o); err != nil {
			return nil, err
		}
		d.Operators = append(d.Operators, op)
	}
	return d, nil
}

func describeSubtask(s *holdfastv1.SubtaskSnapshot) *holdfastv1.SnapshotSubtaskDescription {
	d := &holdfastv1.SnapshotSubtaskDescription{Index: s.Index, KeyGroupStart: s.KeyGroupStart, KeyGroupEnd: s.KeyGroupEnd}
	for _, x := range s.Snapshots {
		if !slices.Contains(d.Formats, x.Format) {
			d.Formats = append(d.Formats, x.Format)
		}
		for _, f := range x.Files {
			file := f.Handle.GetFile()
			if file == nil {
				d.InlineBytes += uint64(len(f.Handle.GetInline()))
				continue
			}
			d.Files++
			d.FileBytes += file.Size
			if f.Shared {
				d.SharedBytes += file.Size
			}
		}
	}
	switch file := s.OperatorState.GetFile(); {
	case file != nil:
		d.Files++
		d.FileBytes += file.Size
	case s.OperatorState != nil:
		d.InlineBytes += uint64(len(s.OperatorState.GetInline()))
	}
	return d
}

// describeOperatorStates counts the entries of the operator states of an operator.
func (r *Reader) describeOperatorStates(ctx context.Context, o *holdfastv1.OperatorSnapshot) ([]*holdfastv1.SnapshotOperatorStateDescription, error) {
	if len(o.Operator.GetOperatorStates()) == 0 {
		return nil, nil
	}
	all, err := r.OperatorStates(ctx, o.Operator.GetUid())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var out []*holdfastv1.SnapshotOperatorStateDescription
	for _, d := range o.Operator.GetOperatorStates() {
		x := &holdfastv1.SnapshotOperatorStateDescription{State: proto.CloneOf(d)}
		out = append(out, x)
		if err != nil {
			continue // verify tells which file, and why
		}
		x.Entries, x.Bytes = proto.Uint64(0), proto.Uint64(0)
		for _, subtask := range all {
			for _, s := range subtask.GetStates() {
				if s.GetOperatorUid() == o.Operator.GetUid() && s.GetState().GetName() == d.GetName() {
					*x.Entries += coordinator.OperatorStateEntries(s.GetState(), s.GetContent())
					*x.Bytes += uint64(len(s.GetContent()))
				}
			}
		}
	}
	return out, nil
}

// describeStates counts entries and bytes, if headers of the canonical format tell
// them all.
func (r *Reader) describeStates(ctx context.Context, o *holdfastv1.OperatorSnapshot) ([]*holdfastv1.SnapshotStateDescription, error) {
	out := make([]*holdfastv1.SnapshotStateDescription, 0, len(o.Operator.GetStates()))
	byName := map[string]*holdfastv1.SnapshotStateDescription{}
	known := true
	for _, d := range o.Operator.GetStates() {
		x := &holdfastv1.SnapshotStateDescription{State: proto.CloneOf(d), Entries: proto.Uint64(0), Bytes: proto.Uint64(0)}
		out, byName[d.Name] = append(out, x), x
	}
	for _, s := range o.Subtasks {
		for _, x := range s.Snapshots {
			if x.Format != CanonicalFormat {
				known = false
				continue
			}
			for _, f := range x.Files {
				h, err := r.header(ctx, f)
				switch {
				case ctx.Err() != nil:
					return nil, ctx.Err()
				case err != nil:
					known = false // verify tells which file, and why
					continue
				}
				for _, st := range h.States {
					if y := byName[st.State.GetName()]; y != nil {
						*y.Entries += st.Entries
						*y.Bytes += st.Bytes
					}
				}
			}
		}
	}
	if !known {
		for _, x := range out {
			x.Entries, x.Bytes = nil, nil
		}
	}
	return out, nil
}

func (r *Reader) header(ctx context.Context, f *holdfastv1.SnapshotFile) (*holdfastv1.SnapshotHeader, error) {
	h, err := storage.HandleOf(f.Handle)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	c, err := canonical.Open(ctx, r.files, h)
	if err != nil {
		return nil, err
	}
	return c.Header(), c.Close()
}

// Verify reads every file.
func (r *Reader) Verify(ctx context.Context) (metadata.Report, error) {
	return metadata.Verify(ctx, r.snap.Files, r.snap.Dir, r.snap.Metadata)
}

// StateNames lists the states, for people.
func (r *Reader) StateNames() string {
	var names []string
	for _, o := range r.snap.Metadata.Operators {
		for _, d := range o.Operator.GetOperatorStates() {
			names = append(names, fmt.Sprintf("%s of %s", d.GetName(), o.Operator.GetUid()))
		}
		for _, d := range o.Operator.GetStates() {
			names = append(names, fmt.Sprintf("%s of %s", d.GetName(), o.Operator.GetUid()))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
