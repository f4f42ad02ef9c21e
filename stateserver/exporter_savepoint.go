package stateserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

const (
	// exportPatience is how long a savepoint is tried again while the storage does not
	// answer, before it has failed. A checkpoint's own export is tried for ever.
	exportPatience = 30 * time.Second
	// tidyTime bounds the deletion of what is not the savepoint.
	tidyTime = 10 * time.Second
	// tidyTerms is how many terms back a leader looks for what others have begun of a
	// savepoint that it writes.
	tidyTerms = 8
)

// exportSavepoint writes a savepoint and records it. Behind that, and for as long as
// this node leads, it deletes what is not the savepoint; lead outlasts ctx, which ends
// when the savepoint is recorded.
func (x *exporter) exportSavepoint(ctx, lead context.Context, t *exportTask, e coordinator.Export, snap *coordinator.Snapshot) error {
	defer x.tidySavepoint(lead, snap, x.inherited[exportKey(e)])
	began := time.Now()
	pauses := newPauses()
	for {
		path, err := x.writeSavepoint(ctx, snap)
		if err == nil || ctx.Err() != nil || storage.Permanent(err) || time.Since(began) > x.patience {
			return x.exported(ctx, t, e, path, err, began)
		}
		pause := pauses.NextBackOff()
		x.log.Warn("a savepoint could not be written; trying again", "job", e.JobID, "checkpoint", e.CheckpointID, "in_seconds", pause.Seconds(), "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (x *exporter) openSavepoint(ctx context.Context, snap *coordinator.Snapshot) (snapshots.Savepoint, error) {
	url := snap.Checkpoint.SavepointDirectory
	if x.s.states.stores.registry == nil {
		return snapshots.Savepoint{}, fmt.Errorf("%w: directory %s: this node has no checkpoint storage", storage.ErrRefused, url)
	}
	base, err := x.s.states.stores.registry.Open(ctx, url)
	return snapshots.Savepoint{
		Base: base, Snap: snap, Cluster: x.s.store.ClusterID(), Term: x.term, Inline: int64(snap.Spec.Checkpoint.InlineThreshold),
	}, err
}

// writeSavepoint writes a savepoint into a directory of this leader's own.
func (x *exporter) writeSavepoint(ctx context.Context, snap *coordinator.Snapshot) (url string, err error) {
	sp, err := x.openSavepoint(ctx, snap)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, sp.Base.Close()) }()
	return sp.Write(ctx, checkpointSource{x.s, snap})
}

// tidySavepoint deletes what is not the savepoint, once the log says what is: if it has
// failed, or another leader's is recorded, what this one wrote; and what others began
// before it. Nothing is deleted by a node that does not lead any more.
func (x *exporter) tidySavepoint(lead context.Context, snap *coordinator.Snapshot, inherited bool) {
	var o snapshots.Outcome
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		o.Path, o.Known = m.SavepointOutcome(snap.JobID, snap.Checkpoint.Id)
	})
	before := uint64(0)
	if inherited {
		before = tidyTerms
	}
	if lead.Err() != nil || !o.Known {
		return
	}
	ctx, cancel := context.WithTimeout(lead, tidyTime)
	defer cancel()
	sp, err := x.openSavepoint(ctx, snap)
	if err == nil {
		err = errors.Join(sp.Tidy(ctx, o, before), sp.Base.Close())
	}
	if err != nil {
		x.log.Warn("what is left of a savepoint beside the one that is recorded could not be deleted", "job", snap.JobID, "checkpoint", snap.Checkpoint.Id, "path", o.Path, "err", err)
	}
}
