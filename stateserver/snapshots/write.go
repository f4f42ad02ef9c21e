package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// writers is how many files of a snapshot are written at a time.
const writers = 2

// Source yields what a checkpoint has of one subtask. It may be asked several times for
// the same one.
type Source interface {
	// Entries are those of all its keyed states.
	Entries(ctx context.Context, subtask coordinator.SubtaskRange, space coordinator.Space) (backend.Entries, error)
	// OperatorStates are those of its chain, nil for none.
	OperatorStates(ctx context.Context, subtask coordinator.SubtaskRange) (*holdfastv1.OperatorStates, error)
}

// Target is where a snapshot is written.
type Target struct {
	// Files is the job's directory for a checkpoint, the savepoint's own for that.
	Files storage.Storage
	// Dir is chk-<n>, "" for a savepoint.
	Dir string
	// Kind says which of the two it is.
	Kind holdfastv1.SnapshotKind
	// Inline is up to which size the state of a subtask stands in the manifest.
	Inline int64
	Retry  storage.RetryPolicy
}

// WriteCanonical writes the state of a completed checkpoint in the canonical format,
// and then the manifest. It holds one block of each file that it has in hand. Whoever
// writes the same checkpoint again, here or on another node, writes the same names and
// bytes.
func WriteCanonical(ctx context.Context, to Target, snap *coordinator.Snapshot, src Source) error {
	m := manifestOf(snap, to.Kind)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for number, op := range m.Operators {
		v := vertexOf(snap, op.Operator.Uid)
		keyed, unkeyed := len(op.Operator.States) > 0, len(op.Operator.OperatorStates) > 0
		if v == nil || !keyed && !unkeyed {
			continue
		}
		for i := range v.Subtasks {
			s := subtaskOf(snap, v, i, keyed)
			op.Subtasks = append(op.Subtasks, s)
			if unkeyed {
				g.Go(func() (err error) {
					f := operatorStateFile{op: op.Operator, subtask: v.Subtasks[i], src: src}
					s.OperatorState, err = f.put(gctx, to, join(to.Dir, canonicalFile{op: op.Operator, index: i}.name(number)))
					if err != nil {
						return fmt.Errorf("the operator state of subtask %d of operator %q: %w", i, op.Operator.Uid, err)
					}
					return nil
				})
			}
			if s.KeyGroupStart == s.KeyGroupEnd {
				continue
			}
			g.Go(func() error {
				f := canonicalFile{op: op.Operator, ids: statesOf(v, op.Operator.Uid), v: v, index: i, src: src}
				h, err := storage.PutHandle(gctx, to.Files, join(to.Dir, f.name(number)), to.Inline, to.Retry, func(w io.Writer) error { return f.write(gctx, w) })
				if err != nil {
					return fmt.Errorf("the state of subtask %d of operator %q: %w", i, op.Operator.Uid, err)
				}
				s.Snapshots = []*holdfastv1.StateSnapshot{{
					Format: CanonicalFormat, Files: []*holdfastv1.SnapshotFile{{Name: "state", Handle: h.Proto()}},
				}}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return WriteManifest(ctx, to, m)
}

// WriteManifest writes a manifest whose files are all there.
func WriteManifest(ctx context.Context, to Target, m *holdfastv1.CheckpointMetadata) error {
	_, err := metadata.Write(ctx, to.Files, to.Dir, m)
	return err
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// canonicalFile is the file of one subtask of an operator.
type canonicalFile struct {
	op    *holdfastv1.Operator
	ids   []*holdfastv1.StateId
	v     *coordinator.SnapshotVertex
	index int
	src   Source
}

// maxUIDInName leaves the name of a file readable.
const maxUIDInName = 64

// name tells operators apart by their place, and people by their uid.
func (f canonicalFile) name(operator int) string {
	uid := strings.Map(func(r rune) rune {
		if r == ' ' {
			return '_'
		}
		return r
	}, f.op.Uid)
	return fmt.Sprintf("%d-%d-%s", operator, f.index, uid[:min(len(uid), maxUIDInName)])
}

// write writes the states of the operator, in the order of their numbers.
func (f *canonicalFile) write(ctx context.Context, w io.Writer) (err error) {
	r := f.v.Subtasks[f.index]
	h := &holdfastv1.SnapshotHeader{OperatorUid: f.op.Uid, MaxParallelism: f.v.KeyGroups, KeyGroupStart: r.Start, KeyGroupEnd: r.End}
	place := map[uint32]int{}
	for i, id := range f.ids {
		d := slices.IndexFunc(f.op.States, func(d *holdfastv1.StateDescriptor) bool { return d.Name == id.StateName })
		h.States = append(h.States, &holdfastv1.SnapshotState{State: f.op.States[d]})
		place[id.Id] = i
	}
	c, err := canonical.NewWriter(w, h)
	if err != nil {
		return err
	}
	es, err := f.src.Entries(ctx, r, f.v.Spaces[f.index])
	if err != nil {
		return forGood(err)
	}
	defer func() { err = errors.Join(err, es.Close()) }()
	for es.Next() {
		e := es.Entry()
		i, mine := place[e.StateID]
		if !mine {
			continue
		}
		if err := c.Add(i, e.KeyGroup, e.Key, e.Value); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := es.Err(); err != nil {
		return forGood(err)
	}
	return c.Close()
}

// forGood marks an error that reading again does not mend.
func forGood(err error) error {
	if errors.Is(err, backend.ErrDamaged) {
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return err
}
