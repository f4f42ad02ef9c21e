package stateserver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// deletionBatch is how many files one entry takes off the list.
const deletionBatch = 256

// delete deletes what entries have decided, and says so.
func (x *exporter) delete(ctx context.Context, t *exportTask, d coordinator.Deletion) error {
	var errs []error
	if d.Restored != "" {
		errs = append(errs, x.deleteRestored(ctx, d))
	}
	switch {
	case d.All:
		errs = append(errs, x.deleteJob(ctx, t, d))
	case len(d.Files) > 0:
		errs = append(errs, x.deleteNamed(ctx, d))
	}
	return errors.Join(errs...)
}

// deleteRestored deletes the snapshot that a job claimed.
func (x *exporter) deleteRestored(ctx context.Context, d coordinator.Deletion) error {
	n, err := snapshots.Delete(ctx, x.s.states.stores.registry, d.Restored)
	if err != nil {
		return err
	}
	x.metrics.deleted.WithLabelValues("claimed").Add(float64(n))
	x.log.Info("the snapshot that a job claimed is deleted", "job", d.JobID, "path", d.Restored)
	return x.deleted(ctx, &internalv1.FilesDeleted{JobId: d.JobID, Restored: true})
}

// deleteNamed deletes files of a job that goes on.
func (x *exporter) deleteNamed(ctx context.Context, d coordinator.Deletion) error {
	dir, err := x.s.states.stores.dir(ctx, d.Directory)
	if err != nil {
		return err
	}
	s := storage.Sub(dir, d.JobID)
	for files := range slices.Chunk(d.Files, deletionBatch) {
		for _, f := range files {
			if below, whole := strings.CutSuffix(f, "/"); whole {
				err = s.DeleteAll(ctx, below)
			} else {
				err = s.Delete(ctx, f)
			}
			if err != nil {
				return err
			}
		}
		x.metrics.deleted.WithLabelValues("subsumed").Add(float64(len(files)))
		if err := x.deleted(ctx, &internalv1.FilesDeleted{JobId: d.JobID, Files: files}); err != nil {
			return err
		}
	}
	return nil
}

// deleteJob deletes the directory of a job that has ended. An upload of a host that
// has not heard of the end may land after that: it is deleted again until nothing has
// come for the time that a checkpoint may take.
func (x *exporter) deleteJob(ctx context.Context, t *exportTask, d coordinator.Deletion) error {
	dir, err := x.s.states.stores.dir(ctx, d.Directory)
	if err != nil {
		return err
	}
	s := storage.Sub(dir, d.JobID)
	left, err := storage.ListAll(ctx, s, "")
	if err != nil {
		return err
	}
	if len(left) > 0 || t.empty.IsZero() {
		if err := s.DeleteAll(ctx, ""); err != nil {
			return err
		}
		x.metrics.deleted.WithLabelValues("job_ended").Add(float64(len(left)))
		x.log.Info("the checkpoint directory of a job that has ended is deleted", "job", d.JobID, "path", s.URL(), "files", len(left))
		t.empty = time.Now()
	}
	var age time.Duration
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		age = time.Duration(m.Describe(d.JobID).GetSpec().GetCheckpoint().GetTimeoutMs()) * time.Millisecond
	})
	if since := time.Since(t.empty); since < age {
		t.again = min(max(since, time.Second), time.Minute, age-since)
		return nil
	}
	return x.deleted(ctx, &internalv1.FilesDeleted{JobId: d.JobID, Directory: true})
}

func (x *exporter) deleted(ctx context.Context, c *internalv1.FilesDeleted) error {
	_, _, e := x.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_FilesDeleted{FilesDeleted: c}})
	if e != nil && ctx.Err() == nil {
		return errors.New(e.Message)
	}
	return ctx.Err()
}
