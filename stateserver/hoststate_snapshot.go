package stateserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// fillFromSnapshot fills a state from the snapshot that its job was submitted with.
func (m *hostStates) fillFromSnapshot(ctx context.Context, sub *subject, st backend.State) error {
	es, err := m.restoreEntries(ctx, sub.restore.From, sub.states, sub.space.Start, sub.space.End)
	if err != nil {
		return err
	}
	return errors.Join(st.Load(ctx, es), es.Close())
}

// restoreEntries yields what the snapshot that a job was submitted with has for the
// states of a subtask, by the numbers that they have in this job, and for its key
// groups [start, end): from every subtask that had some of them, whatever backend
// wrote it. They come in the order of state number, key group and key, and are read
// as they are asked for. The caller closes the entries.
func (m *hostStates) restoreEntries(ctx context.Context, from *internalv1.Restore, states []*holdfastv1.StateId, start, end uint32) (backend.Entries, error) {
	r, err := m.openSnapshot(ctx, from.From.Path)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.SHA256(), from.MetadataSha256) {
		return nil, errors.Join(fmt.Errorf("%w: the manifest in %s is not the one that the job was submitted with", backend.ErrDamaged, r.URL()), r.Close())
	}
	wanted := make([]snapshots.Wanted, 0, len(states))
	for _, id := range states {
		wanted = append(wanted, snapshots.Wanted{OperatorUID: id.OperatorUid, StateName: id.StateName, Number: id.Id})
	}
	slices.SortFunc(wanted, func(a, b snapshots.Wanted) int { return cmp.Compare(a.Number, b.Number) })
	return &snapshotEntries{Entries: r.Entries(ctx, wanted, start, end), r: r}, nil
}

// openSnapshot opens a checkpoint or savepoint by its directory.
func (m *hostStates) openSnapshot(ctx context.Context, url string) (*snapshots.Reader, error) {
	if m.stores.registry == nil {
		return nil, fmt.Errorf("%w: directory %s: this node has no checkpoint storage", storage.ErrRefused, url)
	}
	var backends snapshots.Backends
	if m.backends != nil {
		backends = m.backends
	}
	return snapshots.Open(ctx, m.stores.registry, backends, url)
}

// snapshotEntries are entries that own their reader.
type snapshotEntries struct {
	backend.Entries
	r *snapshots.Reader
}

// Close implements [backend.Entries].
func (e *snapshotEntries) Close() error { return errors.Join(e.Entries.Close(), e.r.Close()) }
