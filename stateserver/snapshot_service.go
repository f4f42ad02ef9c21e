package stateserver

import (
	"context"
	"errors"
	"io"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// snapshotPart is how much of a snapshot goes into one message.
const snapshotPart = 256 << 10

// SaveSnapshot implements holdfastv1.ClusterService. Any node has the whole
// state; unless it may be stale, the leader is asked how far it must be.
func (c *clusterService) SaveSnapshot(r *holdfastv1.SaveSnapshotRequest, stream holdfastv1.ClusterService_SaveSnapshotServer) error {
	ctx := stream.Context()
	if e := c.s.notMember(); e != nil {
		return toStatus(e)
	}
	if !r.Stale {
		if err := c.catchUp(ctx); err != nil {
			return err
		}
	}
	file, size, err := c.s.store.OpenSnapshot(ctx)
	if err != nil {
		return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, err.Error()+"; try another node"))
	}
	defer file.Close()
	part := &holdfastv1.SaveSnapshotResponse{TotalBytes: uint64(size)}
	buf := make([]byte, snapshotPart)
	for {
		n, err := io.ReadFull(file, buf)
		if n > 0 {
			part.Data = buf[:n]
			if err := stream.Send(part); err != nil {
				return err
			}
			part = &holdfastv1.SaveSnapshotResponse{}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, "read the snapshot: "+err.Error()))
		}
	}
}

// catchUp waits until this node has applied what is committed now.
func (c *clusterService) catchUp(ctx context.Context) error {
	index, err := c.s.readIndex(ctx)
	if err != nil {
		return err
	}
	if err := c.s.store.WaitApplied(ctx, index); err != nil {
		e := fromStore(err)
		if errors.Is(err, raftstore.ErrTimeout) {
			e.Reason = holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT
		}
		e.Message = "this node has not caught up with the leader: " + e.Message
		return toStatus(e)
	}
	return nil
}
