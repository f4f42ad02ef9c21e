// Package jobs makes the calls to JobService that more than one command needs.
package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// operationPoll is the pause between two looks at an operation.
const operationPoll = 50 * time.Millisecond

// Call makes one call to JobService on whichever node answers.
func Call[T any](ctx context.Context, c *connect.Cluster, call func(context.Context, holdfastv1.JobServiceClient) (T, error)) (T, error) {
	var answer T
	err := c.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = call(ctx, holdfastv1.NewJobServiceClient(conn))
		return err
	})
	return answer, err
}

// List lists the jobs.
func List(ctx context.Context, c *connect.Cluster) ([]*holdfastv1.JobSummary, error) {
	answer, err := Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.ListResponse, error) {
		return s.List(ctx, &holdfastv1.ListRequest{})
	})
	return answer.GetJobs(), err
}

// Describe describes a job by name or id.
func Describe(ctx context.Context, c *connect.Cluster, job string) (*holdfastv1.JobDescription, error) {
	answer, err := Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.DescribeResponse, error) {
		return s.Describe(ctx, &holdfastv1.DescribeRequest{Job: job})
	})
	return answer.GetJob(), err
}

// Watch calls f with the job's description, at once and at each change, until the
// job has ended.
func Watch(ctx context.Context, c *connect.Cluster, job string, f func(*holdfastv1.JobDescription)) error {
	return c.Stream(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (read bool, err error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := holdfastv1.NewJobServiceClient(conn).Watch(ctx, &holdfastv1.WatchRequest{Job: job})
		if err != nil {
			return false, err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return read, nil
			}
			if err != nil {
				return read, err
			}
			read = true
			f(m.GetJob())
		}
	})
}

// ReportExit tells that an operator process is gone.
func ReportExit(ctx context.Context, c *connect.Cluster, processID string) error {
	_, err := Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.ReportProcessExitResponse, error) {
		return s.ReportProcessExit(ctx, &holdfastv1.ReportProcessExitRequest{ProcessId: processID})
	})
	return err
}

// Ended reports whether a job's status is its last one.
func Ended(s holdfastv1.JobStatus) bool {
	switch s {
	case holdfastv1.JobStatus_JOB_STATUS_FINISHED, holdfastv1.JobStatus_JOB_STATUS_CANCELED, holdfastv1.JobStatus_JOB_STATUS_FAILED:
		return true
	}
	return false
}

// RequestID names one act of a person, so that trying again does not act twice.
func RequestID() string { return rand.Text() }

func aborted(id uint64, reason *holdfastv1.Error) error {
	if reason == nil {
		return exit.Errorf(exit.Failure, "checkpoint %d was aborted", id)
	}
	return &exit.Error{
		Code: exit.Failure, Reason: ReasonName(reason.GetReason()),
		Message: fmt.Sprintf("checkpoint %d was aborted: %s", id, reason.GetMessage()),
	}
}

// ReasonName is a reason's name without its prefix.
func ReasonName(r holdfastv1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), "ERROR_REASON_")
}

// Pause waits, or returns the context's error when that ends first.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
