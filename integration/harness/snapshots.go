package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// snapshotTimeout bounds a call that reads or deletes files.
const snapshotTimeout = 30 * time.Second

// SubmitFrom submits a job that begins from a snapshot; the error is the cluster's.
func (c *Cluster) SubmitFrom(spec *holdfastv1.JobSpec, from *holdfastv1.RestoreFrom) (jobID string, err error) {
	c.t.Helper()
	err = c.Anywhere("an answer to Submit", func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).Submit(ctx, &holdfastv1.SubmitRequest{Spec: spec, Restore: from})
		jobID = r.GetJobId()
		return err
	})
	return jobID, err
}

// BeginSavepoint asks for a savepoint of a job and tells the operation.
func (c *Cluster) BeginSavepoint(job, directory string) *holdfastv1.TriggerSavepointResponse {
	c.t.Helper()
	var r *holdfastv1.TriggerSavepointResponse
	id := RandomName("savepoint")
	if err := c.Anywhere("an answer to TriggerSavepoint", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewJobServiceClient(conn).TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: job, RequestId: id, Directory: directory})
		return err
	}); err != nil {
		c.t.Fatalf("savepoint of %q: %v", job, err)
	}
	return r
}

// Savepoint takes a savepoint of a job and tells its directory.
func (c *Cluster) Savepoint(job, directory string) (path string) {
	c.t.Helper()
	return c.WaitOperation(c.BeginSavepoint(job, directory).OperationId).Checkpoint.SavepointPath
}

// StopWithSavepoint stops a job with a savepoint and tells its directory.
func (c *Cluster) StopWithSavepoint(job, directory string, drain bool) (path string) {
	c.t.Helper()
	var r *holdfastv1.StopResponse
	id := RandomName("stop")
	if err := c.Anywhere("an answer to Stop", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewJobServiceClient(conn).Stop(ctx, &holdfastv1.StopRequest{Job: job, RequestId: id, Directory: directory, Drain: drain})
		return err
	}); err != nil {
		c.t.Fatalf("stop of %q: %v", job, err)
	}
	return c.WaitOperation(r.OperationId).Checkpoint.SavepointPath
}

// WaitOperation waits until an operation is completed. One that failed ends the test.
func (c *Cluster) WaitOperation(id string) *holdfastv1.GetOperationResponse {
	c.t.Helper()
	var r *holdfastv1.GetOperationResponse
	Until(c.t, "operation "+id+" to be completed", func() (err error) {
		if r, err = c.Operation(id); err != nil {
			return err
		}
		switch r.Status {
		case holdfastv1.OperationStatus_OPERATION_STATUS_COMPLETED:
			return nil
		case holdfastv1.OperationStatus_OPERATION_STATUS_FAILED:
			return Stop("it failed: %v", r.Error)
		}
		return fmt.Errorf("it is %s", r.Status)
	})
	return r
}

// WaitExported waits until the newest completed checkpoint of a job that has a
// directory with its metadata, and an id above after, is there.
func (c *Cluster) WaitExported(job string, after uint64) *holdfastv1.Checkpoint {
	c.t.Helper()
	var out *holdfastv1.Checkpoint
	Until(c.t, fmt.Sprintf("the metadata of a checkpoint of job %q after %d", job, after), func() error {
		for _, k := range c.Checkpoints(job).Checkpoints {
			if k.ExternalPath != "" && k.Id > after {
				out = k
				return nil
			}
		}
		return fmt.Errorf("there is none yet")
	})
	return out
}

// Dispose deletes a savepoint; the error is the cluster's.
func (c *Cluster) Dispose(path string) (files uint32, err error) {
	c.t.Helper()
	err = c.Anywhere("an answer to DisposeSavepoint", func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).DisposeSavepoint(ctx, &holdfastv1.DisposeSavepointRequest{Path: path})
		files = r.GetFiles()
		return err
	})
	return files, err
}

// SnapshotCounts reads a state of int64 values of a snapshot in a directory through
// one node; the error is the cluster's.
func (c *Cluster) SnapshotCounts(node int, path, uid, state string) (map[string]int64, error) {
	c.t.Helper()
	out := map[string]int64{}
	err := c.SnapshotEach(node, path, uid, state, func(e *holdfastv1.StateEntry) error {
		if _, twice := out[string(e.Key)]; twice {
			return fmt.Errorf("the key %q came twice", e.Key)
		}
		out[string(e.Key)] = mustInt64(c, string(e.Key), e.Value)
		return nil
	})
	return out, err
}

// SnapshotEach reads a state of a snapshot in a directory through one node, and keeps
// none of it; the error is the cluster's.
func (c *Cluster) SnapshotEach(node int, path, uid, state string, each func(*holdfastv1.StateEntry) error) error {
	c.t.Helper()
	return c.OnWithin(node, snapshotTimeout, func(ctx context.Context, conn *grpc.ClientConn) error {
		s, err := holdfastv1.NewStateServiceClient(conn).ReadSnapshot(ctx, &holdfastv1.ReadSnapshotRequest{Path: path, OperatorUid: uid, StateName: state})
		if err != nil {
			return err
		}
		for {
			r, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, e := range r.Entries {
				if err := each(e); err != nil {
					return err
				}
			}
		}
	})
}

// DescribeSnapshot describes a snapshot in a directory; the error is the cluster's.
func (c *Cluster) DescribeSnapshot(path string) (*holdfastv1.SnapshotDescription, error) {
	c.t.Helper()
	var d *holdfastv1.SnapshotDescription
	err := c.Anywhere("an answer to DescribeSnapshot", func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewStateServiceClient(conn).DescribeSnapshot(ctx, &holdfastv1.DescribeSnapshotRequest{Path: path})
		d = r.GetSnapshot()
		return err
	})
	return d, err
}

// VerifySnapshot reads every file of a snapshot through one node, and tells what is
// wrong.
func (c *Cluster) VerifySnapshot(node int, path string) (problems []*holdfastv1.SnapshotProblem, done *holdfastv1.SnapshotVerified, err error) {
	c.t.Helper()
	err = c.OnWithin(node, snapshotTimeout, func(ctx context.Context, conn *grpc.ClientConn) error {
		s, err := holdfastv1.NewStateServiceClient(conn).VerifySnapshot(ctx, &holdfastv1.VerifySnapshotRequest{Path: path})
		if err != nil {
			return err
		}
		for {
			r, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if p := r.GetProblem(); p != nil {
				problems = append(problems, p)
			}
			if v := r.GetVerified(); v != nil {
				done = v
			}
		}
	})
	return problems, done, err
}

// LocalDir is the directory of a file URL on this machine.
func LocalDir(url string) string { return strings.TrimPrefix(url, "file://") }

// Move moves a directory of a file URL, and tells where it is.
func (c *Cluster) Move(url, to string) string {
	c.t.Helper()
	if err := os.Rename(LocalDir(url), LocalDir(to)); err != nil {
		c.t.Fatal(err)
	}
	return to
}
