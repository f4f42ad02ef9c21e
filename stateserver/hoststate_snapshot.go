package stateserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// fillFromSnapshot fills a state from the snapshot that its job was submitted with:
// from every subtask's part of it that has key groups of this one.
func (m *hostStates) fillFromSnapshot(ctx context.Context, sub *subject, st backend.State) error {
	return m.readSnapshot(ctx, sub, func(es backend.Entries) error { return st.Load(ctx, es) })
}

// readSnapshot yields what the snapshot of a job has for a subtask.
func (m *hostStates) readSnapshot(ctx context.Context, sub *subject, take func(backend.Entries) error) error {
	r, err := m.openRestore(ctx, sub)
	if err != nil {
		return err
	}
	defer r.Close()
	var wanted []snapshots.Wanted
	for _, id := range sub.states {
		wanted = append(wanted, snapshots.Wanted{OperatorUID: id.OperatorUid, StateName: id.StateName, Number: id.Id})
	}
	slices.SortFunc(wanted, func(a, b snapshots.Wanted) int { return cmp.Compare(a.Number, b.Number) })
	es := r.Entries(ctx, wanted, sub.space.Start, sub.space.End)
	defer es.Close()
	return take(es)
}

// openSnapshot opens a checkpoint or savepoint by its directory.
func (m *hostStates) openSnapshot(ctx context.Context, url string) (*snapshots.Reader, error) {
	if m.stores.registry == nil {
		return nil, fmt.Errorf("%w: directory %s: this node has no checkpoint storage", storage.ErrRefused, url)
	}
	var own snapshots.Backends
	if m.backends != nil {
		own = m.backends
	}
	return snapshots.Open(ctx, m.stores.registry, own, url)
}
