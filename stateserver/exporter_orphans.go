package stateserver

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// How often the directory of a job is looked through: the first after a leader began,
// and at these bounds half the time that a checkpoint may take. Where a job has ended
// and nothing is young any more, nothing comes but what was stopped for long.
const (
	collectLeast = time.Second
	collectMost  = 10 * time.Minute
	collectEnded = time.Hour
)

// orphanBatch is how many files are asked about at a time.
const orphanBatch = 1024

// collect deletes files of a job that no checkpoint names and none will (rules C9
// and C10): of uploads that were given up, or that landed behind a deletion. Age only
// spares those that are about to fail.
func (x *exporter) collect(ctx context.Context, t *exportTask, d coordinator.JobDirectory) error {
	age := time.Duration(d.TimeoutMs) * time.Millisecond
	t.again = min(max(age/2, collectLeast), collectMost)
	dir, err := x.s.states.stores.dir(ctx, d.Directory)
	if err != nil {
		return err
	}
	s := storage.Sub(dir, d.JobID)
	named, err := namedByKept(ctx, s, d)
	if errors.Is(err, storage.ErrNotFound) {
		t.again = collectEnded // a person has deleted the checkpoint, or this is another directory
		return nil
	}
	if err != nil {
		return err
	}
	before := x.s.clock.now().Add(-age)
	young := false
	var names []string
	flush := func() error {
		n, err := x.deleteOrphans(ctx, s, d, named, names)
		if n > 0 {
			x.metrics.deleted.WithLabelValues("orphan").Add(float64(n))
			x.log.Info("files that no checkpoint names are deleted", "job", d.JobID, "files", n)
		}
		names = names[:0]
		return err
	}
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		if info.Modified.After(before) {
			young = true
			continue
		}
		if names = append(names, info.Name); len(names) == orphanBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if d.Kept != nil && !young {
		t.again = collectEnded
	}
	if _, err := s.DeleteUnfinished(ctx, "", before); err != nil {
		return err
	}
	return deleteProbes(ctx, dir, x.s.clock.now())
}

// namedByKept is what the manifests of the checkpoints name that a job which has ended
// keeps. All must be read, or nothing of the job is an orphan.
func namedByKept(ctx context.Context, s storage.Storage, d coordinator.JobDirectory) (map[string]bool, error) {
	named := map[string]bool{}
	for _, n := range d.Kept {
		m, err := metadata.Read(ctx, s, storage.CheckpointDir(n))
		if err != nil {
			return nil, err
		}
		for _, f := range metadata.Files(m) {
			named[f.Handle.Path] = true
		}
	}
	return named, nil
}

func (x *exporter) deleteOrphans(ctx context.Context, s storage.Storage, d coordinator.JobDirectory, named map[string]bool, names []string) (n int, err error) {
	var orphans []string
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		if d.Kept != nil {
			orphans = m.OrphansOfEnded(d.JobID, names, named)
		} else {
			orphans = m.Orphans(d.JobID, names)
		}
	})
	for _, f := range orphans {
		if err := s.Delete(ctx, f); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
