package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Fault is what is wrong with a file.
type Fault string

// The faults.
const (
	Missing   Fault = "missing"
	Truncated Fault = "truncated"
	TooLong   Fault = "too long"
	Flipped   Fault = "flipped" // the right size, and other bytes
	Foreign   Fault = "foreign" // there, and not named by the manifest
)

// Problem is one file that is not as the manifest says.
type Problem struct {
	Path  string // relative, as in the manifest
	Fault Fault
	// Who needs it; "" and 0 for a foreign file.
	OperatorUID string
	Subtask     uint32
	Detail      string
}

// String is one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s", p.Path, p.Fault)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.OperatorUID != "" {
		s += fmt.Sprintf(" (operator %s, subtask %d)", p.OperatorUID, p.Subtask)
	}
	return s
}

// Report is what Verify found.
type Report struct {
	Files    int       // that the manifest names
	Bytes    int64     // of them
	Problems []Problem // by path
}

// Verify reads every file that the manifest in dir of s names, a few at a time, and
// looks for others beside the manifest. Files that several checkpoints may use
// (shared, taskowned) are never foreign. An error means that it could not be
// finished, for example because the storage did not answer.
func Verify(ctx context.Context, s storage.Storage, dir string, m *holdfastv1.CheckpointMetadata) (Report, error) {
	var r Report
	if err := Check(m); err != nil {
		return r, fmt.Errorf("verify %s: %w", storage.JoinURL(s.URL(), dir), err)
	}
	files := Files(m)
	problems := make([]*Problem, len(files))
	from := storage.WithRetry(Base(s, dir, m), storage.RetryPolicy{})
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(storage.DefaultWorkers)
	for i, f := range files {
		r.Files++
		r.Bytes += f.Handle.Size
		g.Go(func() (err error) {
			problems[i], err = verifyFile(gctx, from, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	for _, p := range problems {
		if p != nil {
			r.Problems = append(r.Problems, *p)
		}
	}
	foreign, err := findForeign(ctx, from, dir, m, files)
	r.Problems = append(r.Problems, foreign...)
	slices.SortFunc(r.Problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	return r, err
}

func verifyFile(ctx context.Context, s storage.Storage, f File) (*Problem, error) {
	p := &Problem{Path: f.Handle.Path, OperatorUID: f.OperatorUID, Subtask: f.Subtask}
	info, err := s.Stat(ctx, f.Handle.Path)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		p.Fault = Missing
		return p, nil
	case err != nil:
		return nil, err
	case info.Size != f.Handle.Size:
		p.Fault = TooLong
		if info.Size < f.Handle.Size {
			p.Fault = Truncated
		}
		p.Detail = fmt.Sprintf("%d bytes, and should have %d", info.Size, f.Handle.Size)
		return p, nil
	}
	in, err := storage.Open(ctx, s, storage.Handle{File: &f.Handle})
	if err == nil {
		_, err = io.Copy(io.Discard, in)
		_ = in.Close() // it was only read
	}
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		p.Fault, p.Detail = Flipped, "its SHA-256 is not that of the manifest"
		return p, nil
	case errors.Is(err, storage.ErrNotFound): // deleted in this moment
		p.Fault = Missing
		return p, nil
	case err != nil:
		return nil, err
	}
	return nil, nil
}

// findForeign lists what stands in the directory of the manifest and is not named.
func findForeign(ctx context.Context, s storage.Storage, dir string, m *holdfastv1.CheckpointMetadata, files []File) ([]Problem, error) {
	own := ""
	if m.GetKind() == holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT {
		own = storage.CheckpointDir(m.GetCheckpointId())
	}
	if own != "" && own != lastElement(dir) {
		return nil, fmt.Errorf("verify %s: the manifest is of checkpoint %d: its directory must be named %s", storage.JoinURL(s.URL(), dir), m.GetCheckpointId(), own)
	}
	named := map[string]bool{nameIn(own): true}
	for _, f := range files {
		named[f.Handle.Path] = true
	}
	var foreign []Problem
	for info, err := range s.List(ctx, own) {
		if err != nil {
			return foreign, err
		}
		if !named[info.Name] {
			foreign = append(foreign, Problem{Path: info.Name, Fault: Foreign, Detail: "the manifest does not name it"})
		}
	}
	return foreign, nil
}

func lastElement(dir string) string {
	_, last := above("/" + dir)
	return last
}
