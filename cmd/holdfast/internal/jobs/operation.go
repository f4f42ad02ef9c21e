package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Begun is the answer of a call that begins an operation.
type Begun interface {
	GetOperationId() string
	GetCheckpointId() uint64
}

// Begin makes such a call under a request id.
type Begin func(ctx context.Context, s holdfastv1.JobServiceClient, requestID string) (Begun, error)

// TakeCheckpoint triggers a checkpoint and waits until it is decided. One that
// was aborted is an *exit.Error with the reason.
func TakeCheckpoint(ctx context.Context, c *connect.Cluster, job string) (*holdfastv1.Checkpoint, error) {
	return Operate(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient, id string) (Begun, error) {
		return s.TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: job, RequestId: id})
	}, nil)
}

// Operate begins an operation and waits for its outcome; one that failed is an
// *exit.Error with the reason. look, if it is not nil, sees how far it is.
func Operate(ctx context.Context, c *connect.Cluster, begin Begin, look func(*holdfastv1.Checkpoint)) (*holdfastv1.Checkpoint, error) {
	begun, err := start(ctx, c, begin)
	if err != nil {
		return nil, err
	}
	for {
		op, err := Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.GetOperationResponse, error) {
			return s.GetOperation(ctx, &holdfastv1.GetOperationRequest{OperationId: begun.GetOperationId()})
		})
		if err != nil {
			return nil, err
		}
		switch op.GetStatus() {
		case holdfastv1.OperationStatus_OPERATION_STATUS_COMPLETED:
			return op.GetCheckpoint(), nil
		case holdfastv1.OperationStatus_OPERATION_STATUS_FAILED:
			return nil, failed(begun.GetCheckpointId(), op)
		}
		if look != nil && op.GetCheckpoint() != nil {
			look(op.GetCheckpoint())
		}
		if err := Pause(ctx, operationPoll); err != nil {
			return nil, err
		}
	}
}

// start begins. While a checkpoint is pending, a periodic one mostly, it waits for
// its turn.
func start(ctx context.Context, c *connect.Cluster, begin Begin) (Begun, error) {
	give := time.Now().Add(c.Patience())
	for {
		id := RequestID()
		begun, err := Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (Begun, error) {
			return begin(ctx, s, id)
		})
		var e *exit.Error
		if !errors.As(err, &e) || e.Reason != "CHECKPOINT_PENDING" || time.Now().After(give) {
			return begun, err
		}
		if err := Pause(ctx, operationPoll); err != nil {
			return nil, err
		}
	}
}

// failed tells a checkpoint that was aborted from one that stands and whose savepoint
// was not written.
func failed(id uint64, op *holdfastv1.GetOperationResponse) error {
	c := op.GetCheckpoint()
	if c.GetStatus() == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
		reason := op.GetError()
		if reason == nil {
			reason = c.GetExportError()
		}
		return &exit.Error{
			Code: exit.Failure, Reason: ReasonName(reason.GetReason()),
			Message: fmt.Sprintf("the savepoint was not written, its checkpoint %d stands: %s", id, reason.GetMessage()),
		}
	}
	return aborted(id, c.GetReason())
}
