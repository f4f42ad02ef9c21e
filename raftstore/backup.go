package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// OpenSnapshot takes a snapshot of what this node has applied and opens it for
// reading. The bytes are the format of snapshot.go, with all its checksums;
// [InspectSnapshot] and [Refound] read them. It needs no leader.
func (n *Node) OpenSnapshot(ctx context.Context) (file io.ReadCloser, size int64, err error) {
	var taken raft.SnapshotFuture
	err = n.await(ctx, "snapshot", func() raft.Future {
		taken = n.raft.Snapshot()
		return taken
	})
	switch {
	case err == nil:
		meta, file, err := taken.Open()
		if err != nil {
			return nil, 0, fmt.Errorf("raftstore: open the snapshot taken: %w", err)
		}
		return file, meta.Size, nil
	case errors.Is(err, raft.ErrNothingNewToSnapshot):
		return n.newestSnapshot()
	}
	return nil, 0, fmt.Errorf("raftstore: take snapshot: %w", err)
}

// newestSnapshot opens the one on disk, after which nothing was applied.
func (n *Node) newestSnapshot() (io.ReadCloser, int64, error) {
	list, err := n.snaps.List()
	if err != nil {
		return nil, 0, fmt.Errorf("raftstore: list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil, 0, fmt.Errorf("raftstore: this node has applied nothing yet: %w", raft.ErrNothingNewToSnapshot)
	}
	meta, file, err := n.snaps.Open(list[0].ID)
	if err != nil {
		return nil, 0, fmt.Errorf("raftstore: open snapshot %s: %w", list[0].ID, err)
	}
	return file, meta.Size, nil
}
