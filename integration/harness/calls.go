package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const callTimeout = 5 * time.Second

// Failure is what a client learns from a status: it switches on the reason,
// never on the text.
type Failure struct {
	Code     codes.Code
	Reason   string
	Outcome  string
	Message  string
	Metadata map[string]string
	// RetryAfter is that of RetryInfo, 0 where there is none.
	RetryAfter time.Duration
}

// FailureOf reads the error of a call. Reason is empty where there is none.
func FailureOf(err error) Failure {
	s := status.Convert(err)
	f := Failure{Code: s.Code(), Message: s.Message()}
	for _, d := range s.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			f.RetryAfter = r.GetRetryDelay().AsDuration()
		}
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.Domain == "holdfast" {
			f.Reason, f.Outcome, f.Metadata = i.Reason, i.Metadata["outcome"], i.Metadata
		}
	}
	return f
}

// Anywhere makes a call on the running nodes, one after the other, until one
// answers with something other than UNAVAILABLE.
func (c *Cluster) Anywhere(what string, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	c.t.Helper()
	var last error
	Until(c.t, what, func() error {
		err := errors.New("no node runs")
		for _, i := range c.RunningNodes() {
			if c.isDeaf(i) {
				continue // it would wait for a leader
			}
			err = c.On(i, f)
			if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
				last = err
				return nil
			}
		}
		return err
	})
	return last
}

// On makes a call on one node.
func (c *Cluster) On(i int, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	return c.OnWithin(i, callTimeout, f)
}

// OnWithin is On with a deadline of its own.
func (c *Cluster) OnWithin(i int, limit time.Duration, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return f(ctx, c.Conn(i))
}

// Submit submits a job; the error is the cluster's.
func (c *Cluster) Submit(spec *holdfastv1.JobSpec, submissionID string) (jobID string, err error) {
	c.t.Helper()
	err = c.Anywhere("an answer to Submit", func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).Submit(ctx, &holdfastv1.SubmitRequest{Spec: spec, SubmissionId: submissionID})
		jobID = r.GetJobId()
		return err
	})
	return jobID, err
}

// MustSubmit submits a job that must be accepted.
func (c *Cluster) MustSubmit(spec *holdfastv1.JobSpec) (jobID string) {
	c.t.Helper()
	id, err := c.Submit(spec, "")
	if err != nil {
		c.t.Fatalf("submit %q: %v", spec.GetName(), err)
	}
	return id
}

// Describe describes a job by its name or id.
func (c *Cluster) Describe(job string) (*holdfastv1.JobDescription, error) {
	c.t.Helper()
	var d *holdfastv1.JobDescription
	err := c.Anywhere("an answer to Describe", func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).Describe(ctx, &holdfastv1.DescribeRequest{Job: job})
		d = r.GetJob()
		return err
	})
	return d, err
}

// MustDescribe describes a job that must be there.
func (c *Cluster) MustDescribe(job string) *holdfastv1.JobDescription {
	c.t.Helper()
	d, err := c.Describe(job)
	if err != nil {
		c.t.Fatalf("describe %q: %v", job, err)
	}
	return d
}

// WaitJob waits until a job's description pleases ok, which says what is
// missing.
func (c *Cluster) WaitJob(job, what string, ok func(*holdfastv1.JobDescription) error) *holdfastv1.JobDescription {
	c.t.Helper()
	var d *holdfastv1.JobDescription
	Until(c.t, fmt.Sprintf("%s of job %q", what, job), func() (err error) {
		if d, err = c.Describe(job); err != nil {
			return err
		}
		return ok(d)
	})
	return d
}

// WaitStatus waits for a status of a job. A job that ended in another way ends
// the wait.
func (c *Cluster) WaitStatus(job string, want holdfastv1.JobStatus) *holdfastv1.JobDescription {
	c.t.Helper()
	return c.WaitJob(job, want.String(), func(d *holdfastv1.JobDescription) error {
		got := d.Summary.Status
		if got == want {
			return nil
		}
		err := fmt.Errorf("it is %s, reason %v", got, d.Reason)
		if got >= holdfastv1.JobStatus_JOB_STATUS_FINISHED {
			return errStop{err}
		}
		return err
	})
}

// Checkpoints lists the checkpoints of a job, newest first.
func (c *Cluster) Checkpoints(job string) *holdfastv1.ListCheckpointsResponse {
	c.t.Helper()
	var r *holdfastv1.ListCheckpointsResponse
	err := c.Anywhere("an answer to ListCheckpoints", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewJobServiceClient(conn).ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: job})
		return err
	})
	if err != nil {
		c.t.Fatalf("list the checkpoints of %q: %v", job, err)
	}
	return r
}

// Completed returns the newest completed checkpoint of a list, nil if there is
// none.
func Completed(r *holdfastv1.ListCheckpointsResponse) *holdfastv1.Checkpoint {
	for _, k := range r.GetCheckpoints() {
		if k.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
			return k
		}
	}
	return nil
}

// Completed is the id of the newest completed checkpoint of a job, 0 if there is
// none.
func (c *Cluster) Completed(job string) uint64 {
	c.t.Helper()
	return Completed(c.Checkpoints(job)).GetId()
}

// WaitCheckpoint waits for a completed checkpoint with an id above after.
func (c *Cluster) WaitCheckpoint(job string, after uint64) *holdfastv1.Checkpoint {
	c.t.Helper()
	var k *holdfastv1.Checkpoint
	Until(c.t, fmt.Sprintf("a checkpoint of job %q after %d", job, after), func() error {
		r := c.Checkpoints(job)
		if k = Completed(r); k.GetId() <= after {
			return fmt.Errorf("the newest completed one is %d; counts %v", k.GetId(), r.Counts)
		}
		return nil
	})
	return k
}

// Trigger begins a checkpoint; the error is the cluster's.
func (c *Cluster) Trigger(job, requestID string) (*holdfastv1.TriggerCheckpointResponse, error) {
	c.t.Helper()
	var r *holdfastv1.TriggerCheckpointResponse
	err := c.Anywhere("an answer to TriggerCheckpoint", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewJobServiceClient(conn).TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: job, RequestId: requestID})
		return err
	})
	return r, err
}

// Operation returns an operation by its id.
func (c *Cluster) Operation(id string) (*holdfastv1.GetOperationResponse, error) {
	c.t.Helper()
	var r *holdfastv1.GetOperationResponse
	err := c.Anywhere("an answer to GetOperation", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		r, err = holdfastv1.NewJobServiceClient(conn).GetOperation(ctx, &holdfastv1.GetOperationRequest{OperationId: id})
		return err
	})
	return r, err
}

// Cancel ends a job.
func (c *Cluster) Cancel(job string) error {
	c.t.Helper()
	return c.Anywhere("an answer to Cancel", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).Cancel(ctx, &holdfastv1.CancelRequest{Job: job, RequestId: RandomName("cancel")})
		return err
	})
}

// ResumeJob lets a suspended job go on.
func (c *Cluster) ResumeJob(job string, acceptGap bool) error {
	c.t.Helper()
	id := RandomName("resume")
	return c.Anywhere("an answer to Resume", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).Resume(ctx, &holdfastv1.ResumeRequest{Job: job, RequestId: id, AcceptGap: acceptGap})
		return err
	})
}

// StateRef names a state: live, or of a checkpoint.
type StateRef struct {
	Job, Operator, State string
	Checkpoint           uint64
}

func (r StateRef) selector() *holdfastv1.StateSelector {
	return &holdfastv1.StateSelector{Job: r.Job, OperatorUid: r.Operator, StateName: r.State, CheckpointId: r.Checkpoint}
}

// Scan reads a whole state through one node, page by page. A key that comes
// twice is an error.
func (c *Cluster) Scan(i int, ref StateRef, pageSize uint32) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := c.ScanEach(i, ref, pageSize, func(e *holdfastv1.StateEntry) error {
		if _, twice := out[string(e.Key)]; twice {
			return fmt.Errorf("the key %q came twice", e.Key)
		}
		out[string(e.Key)] = e.Value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ScanEach reads a whole state through one node, page by page, and keeps none.
func (c *Cluster) ScanEach(i int, ref StateRef, pageSize uint32, each func(*holdfastv1.StateEntry) error) error {
	var token []byte
	for {
		var page *holdfastv1.ScanResponse
		err := c.On(i, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
			page, err = holdfastv1.NewStateServiceClient(conn).Scan(ctx, &holdfastv1.ScanRequest{State: ref.selector(), PageSize: pageSize, PageToken: token})
			return err
		})
		if err != nil {
			return err
		}
		if pageSize > 0 && len(page.Entries) > int(pageSize) {
			return fmt.Errorf("a page of %d entries, asked for at most %d", len(page.Entries), pageSize)
		}
		for _, e := range page.Entries {
			if err := each(e); err != nil {
				return err
			}
		}
		if token = page.NextPageToken; len(token) == 0 {
			return nil
		}
	}
}

// State reads a whole state from whichever node answers.
func (c *Cluster) State(ref StateRef) map[string][]byte {
	c.t.Helper()
	var out map[string][]byte
	err := c.Anywhere("the state "+ref.State, func(context.Context, *grpc.ClientConn) (err error) {
		for _, i := range c.RunningNodes() {
			if out, err = c.Scan(i, ref, 0); err == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("scan %+v: %v", ref, err)
	}
	return out
}

// Counts reads a state of int64 values.
func (c *Cluster) Counts(ref StateRef) map[string]int64 {
	c.t.Helper()
	out := map[string]int64{}
	for k, v := range c.State(ref) {
		out[k] = mustInt64(c, k, v)
	}
	return out
}

func mustInt64(c *Cluster, key string, v []byte) int64 {
	c.t.Helper()
	if len(v) != 8 {
		c.t.Fatalf("the value of %q has %d bytes, not 8", key, len(v))
	}
	return int64(binary.LittleEndian.Uint64(v))
}

// VerifyReplicas compares the hashes of all members' whole state at one index
// of the log. It waits until every member that runs is reachable; a difference
// ends the test.
func (c *Cluster) VerifyReplicas() []*holdfastv1.ReplicaHash {
	c.t.Helper()
	var r *holdfastv1.VerifyReplicasResponse
	Until(c.t, "every running replica to give its hash", func() error {
		err := c.On(c.Leader().Index, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
			r, err = holdfastv1.NewClusterServiceClient(conn).VerifyReplicas(ctx, &holdfastv1.VerifyReplicasRequest{})
			return err
		})
		if err != nil {
			return err
		}
		n := 0
		for _, h := range r.Replicas {
			if h.Reachable && h.Hash != "" {
				n++
			}
		}
		if n < len(c.RunningNodes()) {
			return fmt.Errorf("%d of %d answered: %v", n, len(c.RunningNodes()), r)
		}
		return nil
	})
	hashes := map[string]bool{}
	var lines []string
	for _, h := range r.Replicas {
		if h.Reachable {
			hashes[h.Hash] = true
		}
		lines = append(lines, fmt.Sprintf("%s %s restored=%d reachable=%v %s", h.Name, h.Hash, h.RestoredSnapshotIndex, h.Reachable, h.Error))
	}
	if !r.Equal || len(hashes) != 1 {
		c.t.Fatalf("the replicas differ at index %d (equal=%v):\n%s", r.Index, r.Equal, strings.Join(lines, "\n"))
	}
	c.t.Logf("replicas are equal at index %d:\n%s", r.Index, strings.Join(lines, "\n"))
	return r.Replicas
}
