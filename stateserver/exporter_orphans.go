package stateserver

import (
	"context"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// How often the directory of a job is looked through: the first after a leader began,
// and at these bounds half the time that a checkpoint may take.
const (
	collectLeast = time.Second
	collectMost  = 10 * time.Minute
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
	before := x.s.clock.now().Add(-age)
	var names []string
	flush := func() error {
		n, err := x.deleteOrphans(ctx, s, d.JobID, names)
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
	_, err = s.DeleteUnfinished(ctx, "", before)
	return err
}

func (x *exporter) deleteOrphans(ctx context.Context, s storage.Storage, job string, names []string) (n int, err error) {
	var orphans []string
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { orphans = m.Orphans(job, names) })
	for _, f := range orphans {
		if err := s.Delete(ctx, f); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
