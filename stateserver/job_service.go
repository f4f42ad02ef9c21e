package stateserver

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// proposalWait bounds a call that changes something and has no deadline of its
// own.
const proposalWait = 30 * time.Second

// jobService answers the administration of jobs.
type jobService struct {
	holdfastv1.UnimplementedJobServiceServer
	s *Server
}

// propose puts a command before the leader and waits for the log's answer, and
// until this node shows it.
func (j *jobService) propose(ctx context.Context, c *internalv1.Command) (*internalv1.CommandResult, error) {
	ctx, cancel := withReserve(ctx, proposalWait)
	defer cancel()
	r, index, e := j.s.fwd.do(ctx, c)
	if e != nil {
		return nil, toStatus(e)
	}
	if err := j.s.store.WaitApplied(ctx, index); err != nil {
		return nil, toStatus(fromStore(err))
	}
	return r, nil
}

// withReserve bounds a call by limit, and by its own deadline less a reserve in
// which it can still be told why.
func withReserve(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(d)-deadlineReserve)
	}
	return context.WithTimeout(ctx, limit)
}

// find resolves a job's name on this node. Only a caller that has just been
// answered by the leader, or that proposes next, may use it.
func (j *jobService) find(ctx context.Context, job string) (string, error) {
	d := &holdfastv1.DescribeResponse{}
	if err := j.s.askLeader(ctx, holdfastv1.JobService_Describe_FullMethodName, &holdfastv1.DescribeRequest{Job: job}, d); err != nil {
		return "", err
	}
	return d.Job.Summary.JobId, nil
}

// Submit implements holdfastv1.JobService.
func (j *jobService) Submit(ctx context.Context, r *holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
	spec, e := coordinator.NormalizeSpec(r.Spec)
	if e != nil {
		return nil, toStatus(e)
	}
	if e := checkSpecSize(r.Spec); e != nil {
		return nil, toStatus(e)
	}
	if len(r.SubmissionId) > maxIDBytes {
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			fmt.Sprintf("the submission id has %d characters, at most %d are allowed", len(r.SubmissionId), maxIDBytes), "field", "submission_id"))
	}
	if e := j.s.checkDirectories(spec.Checkpoint.GetDirectory(), spec.Checkpoint.GetSavepointDirectory()); e != nil {
		return nil, toStatus(e)
	}
	if e := j.s.tryDirectory(ctx, spec); e != nil {
		return nil, toStatus(e)
	}
	restore, unread := j.readRestore(ctx, spec, r.Restore)
	res, err := j.propose(ctx, &internalv1.Command{Command: &internalv1.Command_SubmitJob{SubmitJob: &internalv1.SubmitJob{
		Spec: r.Spec, SubmissionId: r.SubmissionId, JobId: randomID(), TimeMs: j.s.clock.now().UnixMilli(), Restore: restore,
	}}})
	if unread != nil && status.Code(err) == codes.InvalidArgument {
		return nil, toStatus(unread) // nothing was there to join
	}
	if err != nil {
		return nil, err
	}
	return &holdfastv1.SubmitResponse{JobId: res.JobId, Joined: res.Joined}, nil
}

// List implements holdfastv1.JobService.
func (j *jobService) List(context.Context, *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	out := &holdfastv1.ListResponse{}
	j.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { out.Jobs = m.Summaries() })
	return out, nil
}

// Describe implements holdfastv1.JobService.
func (j *jobService) Describe(_ context.Context, r *holdfastv1.DescribeRequest) (*holdfastv1.DescribeResponse, error) {
	d, e := j.describe(r.Job)
	if e != nil {
		return nil, toStatus(e)
	}
	return &holdfastv1.DescribeResponse{Job: d}, nil
}

func (j *jobService) describe(job string) (d *holdfastv1.JobDescription, e *holdfastv1.Error) {
	j.s.store.Read(func(m *coordinator.Machine, k *keyed.Store) {
		var id string
		if id, e = m.JobID(job); e != nil {
			return
		}
		d = m.Describe(id)
		m.StateSizes(id, d, func(subtask uint64, state uint32) (int64, int64) {
			bytes, entries, err := k.Bytes(subtask, state)
			if err != nil {
				return 0, 0 // no state yet
			}
			return bytes, entries
		})
		d.StandbySlots = uint32(j.s.lead.standbySlots(m, id))
	})
	return d, e
}

// Cancel implements holdfastv1.JobService.
func (j *jobService) Cancel(ctx context.Context, r *holdfastv1.CancelRequest) (*holdfastv1.CancelResponse, error) {
	request, err := requestID(r.RequestId)
	if err != nil {
		return nil, err
	}
	id, err := j.find(ctx, r.Job)
	if err != nil {
		return nil, err
	}
	res, err := j.propose(ctx, &internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{
		JobId: id, RequestId: request, TimeMs: j.s.clock.now().UnixMilli(),
	}}})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.CancelResponse{Status: res.JobStatus}, nil
}

// Resume implements holdfastv1.JobService.
func (j *jobService) Resume(ctx context.Context, r *holdfastv1.ResumeRequest) (*holdfastv1.ResumeResponse, error) {
	request, err := requestID(r.RequestId)
	if err != nil {
		return nil, err
	}
	id, err := j.find(ctx, r.Job)
	if err != nil {
		return nil, err
	}
	res, err := j.propose(ctx, &internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{
		JobId: id, RequestId: request, AcceptGap: r.AcceptGap, TimeMs: j.s.clock.now().UnixMilli(),
	}}})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ResumeResponse{Status: res.JobStatus}, nil
}

// requestID gives a call an id, so that it is applied once however often this
// node has to send it.
func requestID(given string) (string, error) {
	if len(given) > maxIDBytes {
		return "", invalidRequest("request_id", fmt.Sprintf("the request id has %d characters, at most %d are allowed", len(given), maxIDBytes))
	}
	if given == "" {
		return randomID(), nil
	}
	return given, nil
}

// TriggerCheckpoint implements holdfastv1.JobService.
func (j *jobService) TriggerCheckpoint(ctx context.Context, r *holdfastv1.TriggerCheckpointRequest) (*holdfastv1.TriggerCheckpointResponse, error) {
	request, err := requestID(r.RequestId)
	if err != nil {
		return nil, err
	}
	id, err := j.find(ctx, r.Job)
	if err != nil {
		return nil, err
	}
	res, err := j.propose(ctx, &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{
		JobId: id, RequestId: request, TimeMs: j.s.clock.now().UnixMilli(), Trigger: holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_MANUAL,
	}}})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.TriggerCheckpointResponse{OperationId: operationID(id, res.CheckpointId), CheckpointId: res.CheckpointId}, nil
}

// ListCheckpoints implements holdfastv1.JobService.
func (j *jobService) ListCheckpoints(_ context.Context, r *holdfastv1.ListCheckpointsRequest) (*holdfastv1.ListCheckpointsResponse, error) {
	out := &holdfastv1.ListCheckpointsResponse{}
	var e *holdfastv1.Error
	j.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		var id string
		if id, e = m.JobID(r.Job); e == nil {
			out.Checkpoints, out.Counts = m.Checkpoints(id)
			out.Summary = m.CheckpointSummary(id)
		}
	})
	if e != nil {
		return nil, toStatus(e)
	}
	return out, nil
}

// DescribeCheckpoint implements holdfastv1.JobService.
func (j *jobService) DescribeCheckpoint(_ context.Context, r *holdfastv1.DescribeCheckpointRequest) (*holdfastv1.DescribeCheckpointResponse, error) {
	var out *holdfastv1.DescribeCheckpointResponse
	var e *holdfastv1.Error
	j.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		var id string
		if id, e = m.JobID(r.Job); e == nil {
			out, e = m.DescribeCheckpoint(id, r.CheckpointId)
		}
	})
	if e != nil {
		return nil, toStatus(e)
	}
	return out, nil
}

// Watch implements holdfastv1.JobService. It follows this node's own state.
func (j *jobService) Watch(r *holdfastv1.WatchRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchResponse]) error {
	id, err := j.find(stream.Context(), r.Job)
	if err != nil {
		return err
	}
	changes, stop := j.s.store.Watch(id)
	defer stop()
	for {
		d, e := j.describe(id)
		if e == nil {
			if err := stream.Send(&holdfastv1.WatchResponse{Job: d}); err != nil {
				return err
			}
			if coordinator.Ended(d.Summary.Status) {
				return nil
			}
		}
		select {
		case <-changes:
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-j.s.ctx.Done():
			return toStatus(noLeader())
		}
	}
}

// ReportProcessExit implements holdfastv1.JobService.
func (j *jobService) ReportProcessExit(_ context.Context, r *holdfastv1.ReportProcessExitRequest) (*holdfastv1.ReportProcessExitResponse, error) {
	if r.ProcessId == "" || len(r.ProcessId) > maxIDBytes {
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
			fmt.Sprintf("the process id has %d characters, 1 to %d are allowed", len(r.ProcessId), maxIDBytes), "field", "process_id"))
	}
	j.s.hosts.processExited(r.ProcessId)
	return &holdfastv1.ReportProcessExitResponse{}, nil
}
