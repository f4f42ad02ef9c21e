package stateserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// canonicalFormat is what StateSnapshot.format says of files of package canonical.
const canonicalFormat = "canonical"

// fillFromSnapshot fills a state from the snapshot that its job was submitted with:
// from every subtask's part of it that has key groups of this one.
func (m *hostStates) fillFromSnapshot(ctx context.Context, sub *subject, st backend.State) error {
	return m.readSnapshot(ctx, sub, func(es backend.Entries) error { return st.Load(ctx, es) })
}

// readSnapshot yields what a snapshot has for the states and key groups of a subtask,
// file by file.
func (m *hostStates) readSnapshot(ctx context.Context, sub *subject, take func(backend.Entries) error) error {
	from := sub.restore.From
	if m.stores.registry == nil {
		return fmt.Errorf("%w: this node has no checkpoint storage configured, and the job begins from %s", storage.ErrRefused, from.From.Path)
	}
	snap, err := metadata.Load(ctx, m.stores.registry, from.From.Path)
	if err != nil {
		return err
	}
	defer snap.Close()
	if err := sameManifest(snap, from.MetadataSha256); err != nil {
		return err
	}
	for _, op := range snap.Metadata.Operators {
		for _, s := range op.Subtasks {
			if s.KeyGroupStart >= sub.space.End || s.KeyGroupEnd <= sub.space.Start {
				continue
			}
			for _, x := range s.Snapshots {
				if err := readFiles(ctx, sub, snap, op.Operator.GetUid(), x, take); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sameManifest refuses a manifest that is not the one that was submitted.
func sameManifest(s *metadata.Snapshot, want []byte) error {
	b, err := metadata.Encode(s.Metadata)
	if err != nil {
		return err
	}
	if got := sha256.Sum256(b); len(want) > 0 && !bytes.Equal(got[:], want) {
		return fmt.Errorf("%w: the manifest in %s is not the one that the job was submitted with", backend.ErrDamaged, storage.JoinURL(s.Files.URL(), s.Dir))
	}
	return nil
}

func readFiles(ctx context.Context, sub *subject, snap *metadata.Snapshot, uid string, x *holdfastv1.StateSnapshot, take func(backend.Entries) error) error {
	if x.Format != canonicalFormat {
		return fmt.Errorf("%w: the state of operator %q is in the format %q of a state backend, which only its own job can restore; take a savepoint of it",
			backend.ErrDamaged, uid, x.Format)
	}
	for _, f := range x.Files {
		handle, err := storage.HandleOf(f.Handle)
		if err != nil {
			return fmt.Errorf("%w: %w", backend.ErrDamaged, err)
		}
		if err := readCanonical(ctx, sub, snap.Files, uid, handle, take); err != nil {
			return err
		}
	}
	return nil
}

// readCanonical yields the states of one file that the subtask has.
func readCanonical(ctx context.Context, sub *subject, s storage.Storage, uid string, h storage.Handle, take func(backend.Entries) error) error {
	f, err := canonical.Open(ctx, s, h)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, id := range sub.states {
		if id.OperatorUid != uid {
			continue
		}
		i, ok := f.State(id.StateName)
		if !ok {
			continue
		}
		if err := take(&canonicalEntries{it: f.Scan(i, sub.space.Start, sub.space.End), state: id.Id}); err != nil {
			return err
		}
	}
	return nil
}

// canonicalEntries implements [backend.Entries] over one state of a file.
type canonicalEntries struct {
	it    *canonical.Iterator
	state uint32
}

// Next implements [backend.Entries].
func (c *canonicalEntries) Next() bool { return c.it.Next() }

// Entry implements [backend.Entries].
func (c *canonicalEntries) Entry() backend.Entry {
	return backend.Entry{StateID: c.state, KeyGroup: c.it.KeyGroup(), Key: c.it.Key(), Value: c.it.Value()}
}

// Err implements [backend.Entries].
func (c *canonicalEntries) Err() error { return c.it.Err() }

// Close implements [backend.Entries].
func (c *canonicalEntries) Close() error { return nil }
