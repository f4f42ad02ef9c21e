package stateserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// The first and the longest pause between two tries of a restore whose storage does
// not answer. There is no last try: the job waits for its storage.
const (
	restoreRetryFirst = 200 * time.Millisecond
	restoreRetryMax   = 10 * time.Second
)

// errRestore is a restore that no other try can mend.
type errRestore struct{ e *holdfastv1.Error }

func (e errRestore) Error() string { return e.e.Message }

// restored opens the state of an attempt and fills it from the restore point. What
// may heal by itself is tried again until ctx ends; what does not is an errRestore.
func (m *hostStates) restored(ctx context.Context, sub *subject) (backend.State, error) {
	log := m.log.With("job", sub.view.JobID, "subtask", sub.view.ID, "checkpoint", sub.restore.CheckpointID)
	began := time.Now()
	return retryRestore(ctx, log, sub, began, func() (backend.State, error) { return m.tryRestore(ctx, sub) })
}

// retryRestore tries until it has succeeded, ctx ends or no other try can mend it.
func retryRestore[T any](ctx context.Context, log *slog.Logger, sub *subject, began time.Time, try func() (T, error)) (out T, err error) {
	pauses := &backoff.ExponentialBackOff{InitialInterval: restoreRetryFirst, MaxInterval: restoreRetryMax, Multiplier: 2, RandomizationFactor: 0.5}
	for {
		out, err = try()
		switch {
		case err == nil:
			if sub.restore.CheckpointID != 0 {
				log.Info("the state of a subtask is restored", "seconds", time.Since(began).Seconds(), "bytes", handlesBytes(sub.restore.Handles))
			}
			return out, nil
		case ctx.Err() != nil:
			return out, ctx.Err()
		case errors.As(err, &refused{}):
			return out, err
		case lost(err):
			return out, errRestore{coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED,
				fmt.Sprintf("the state of checkpoint %d cannot be restored: %s", sub.restore.CheckpointID, err), "checkpoint", fmt.Sprint(sub.restore.CheckpointID))}
		}
		if !transient(err) {
			return out, err // of this host: another attempt may get another one
		}
		pause := pauses.NextBackOff()
		log.Warn("the checkpoint storage did not answer; restoring again", "in_seconds", pause.Seconds(), "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
}

// tryRestore is one try, into a state of its own.
func (m *hostStates) tryRestore(ctx context.Context, sub *subject) (backend.State, error) {
	b, err := m.backends.Get(sub.view.Backend)
	if err != nil {
		return nil, err
	}
	st, err := b.Open(ctx, backend.Spec{Name: fmt.Sprintf("%d-%d", sub.view.ID, sub.view.Token), Space: sub.space})
	if err != nil {
		return nil, fmt.Errorf("open the state of subtask %d: %w", sub.view.ID, err)
	}
	if err := m.fill(ctx, sub, st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

func (m *hostStates) fill(ctx context.Context, sub *subject, st backend.State) error {
	if sub.restore.From != nil {
		return m.fillFromSnapshot(ctx, sub, st)
	}
	if len(sub.restore.Handles) == 0 {
		return nil
	}
	files, err := m.filesOf(ctx, sub.view.JobID, sub.view.ID, sub.spec.Checkpoint, sub.view.Token, 0)
	if err != nil {
		return err
	}
	return st.Restore(ctx, files, sub.restore.Handles)
}

func handlesBytes(handles []*holdfastv1.StateHandle) (n uint64) {
	for _, h := range handles {
		n += h.GetSize()
	}
	return n
}

// lost tells whether an error says that the snapshot is not there as it was written, or
// can not be reached for good: no other host could restore it.
func lost(err error) bool {
	var s *storage.Error
	return errors.Is(err, backend.ErrDamaged) || errors.As(err, &s) && storage.Permanent(err)
}

// transient tells whether an error is one of the checkpoint storage that may heal by
// itself.
func transient(err error) bool {
	var s *storage.Error
	return errors.As(err, &s) && !storage.Permanent(err) && !errors.Is(err, backend.ErrDamaged)
}
