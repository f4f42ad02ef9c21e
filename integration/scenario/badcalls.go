package scenario

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// BadSubmissions submits what cannot run, and what is taken already.
func BadSubmissions(t *testing.T, c *harness.Cluster) {
	good := harness.FlusherConfig{Job: "good", Slots: 1}.Spec()
	id := c.MustSubmit(good)
	if again := c.MustSubmit(proto.CloneOf(good)); again != id {
		t.Errorf("the same specification again makes the job %s, not %s", again, id)
	}
	for _, bad := range []struct {
		name   string
		change func(s *holdfastv1.JobSpec)
		want   failure
	}{
		{"another job under a running name", func(s *holdfastv1.JobSpec) { s.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: 1000} },
			failure{reason: "JOB_SPEC_DIFFERS", outcome: "final", metadata: []string{"difference", "job_id"}}},
		{"parallelism 0", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Parallelism = "p0", 0 },
			failure{reason: "INVALID_JOB_SPEC", outcome: "final", metadata: []string{"field"}}},
		{"keyBy at parallelism 2", func(s *holdfastv1.JobSpec) {
			s.Name, s.Operators[0].Parallelism, s.Operators[1].Parallelism = "keyby2", 2, 2
		}, failure{reason: "INVALID_JOB_SPEC", outcome: "final", metadata: []string{"field"}}},
		{"no name", func(s *holdfastv1.JobSpec) { s.Name = "" }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"no operators", func(s *holdfastv1.JobSpec) { s.Name, s.Operators = "none", nil }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"an unknown backend", func(s *holdfastv1.JobSpec) { s.Name, s.StateBackend.Name = "backend", "clay" }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"two operators of one uid", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Uid = "uid", s.Operators[0].Uid }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"an input from nowhere", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Inputs[0].OperatorUid = "input", "nobody" }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"an unknown type", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].States[0].Type = "type", "decimal" }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"a checkpoint every millisecond", func(s *holdfastv1.JobSpec) {
			s.Name, s.Checkpoint = "often", &holdfastv1.CheckpointConfig{IntervalMs: 1}
		}, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
		{"4 GiB of key groups", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].MaxParallelism = "groups", 1<<32-1 }, failure{reason: "INVALID_JOB_SPEC", metadata: []string{"field"}}},
	} {
		spec := proto.CloneOf(good)
		bad.change(spec)
		_, err := c.Submit(spec, "")
		expectFailure(t, bad.name, err, bad.want)
	}
	_, err := c.Submit(nil, "")
	expectFailure(t, "no specification", err, failure{reason: "INVALID_JOB_SPEC"})

	mustCancel(t, c, id)
	_, err = c.Submit(good, "")
	expectFailure(t, "an ended name without a submission id", err, failure{reason: "JOB_TERMINATED", outcome: "final", metadata: []string{"job_id", "status"}})
	fresh, err := c.Submit(good, "anew")
	if err != nil || fresh == id {
		t.Fatalf("an ended name with a new submission id: %q, %v", fresh, err)
	}
	mustCancel(t, c, fresh)
	_, err = c.Submit(good, "anew")
	expectFailure(t, "an ended name with the submission id that it had", err, failure{reason: "JOB_TERMINATED"})
}

// BadCalls asks the admin and state services for what is not there, through
// every node.
func BadCalls(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "running", Pause: traffic})
	f.WaitAcked(20)
	state := func(change func(s *holdfastv1.StateSelector)) *holdfastv1.StateSelector {
		s := &holdfastv1.StateSelector{Job: "running", OperatorUid: harness.FlusherOperator, StateName: harness.FlusherState}
		if change != nil {
			change(s)
		}
		return s
	}
	type call func(ctx context.Context, j holdfastv1.JobServiceClient, s holdfastv1.StateServiceClient) error
	scan := func(r *holdfastv1.ScanRequest) call {
		return func(ctx context.Context, _ holdfastv1.JobServiceClient, s holdfastv1.StateServiceClient) error {
			_, err := s.Scan(ctx, r)
			return err
		}
	}
	for _, bad := range []struct {
		name string
		call call
		want failure
	}{
		{"describe nobody", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.Describe(ctx, &holdfastv1.DescribeRequest{Job: "nobody"})
			return err
		}, failure{reason: "JOB_NOT_FOUND"}},
		{"cancel nobody", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.Cancel(ctx, &holdfastv1.CancelRequest{Job: "nobody"})
			return err
		}, failure{reason: "JOB_NOT_FOUND"}},
		{"resume what runs", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.Resume(ctx, &holdfastv1.ResumeRequest{Job: "running"})
			return err
		}, failure{reason: "JOB_STATE", metadata: []string{"status"}}},
		{"trigger without checkpoints", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: "running", RequestId: "x"})
			return err
		}, failure{reason: "CHECKPOINTS_DISABLED"}},
		{"an unknown operation", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.GetOperation(ctx, &holdfastv1.GetOperationRequest{OperationId: "nothing"})
			return err
		}, failure{reason: "OPERATION_NOT_FOUND"}},
		{"checkpoints of nobody", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			_, err := j.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: "nobody"})
			return err
		}, failure{reason: "JOB_NOT_FOUND"}},
		{"watch nobody", func(ctx context.Context, j holdfastv1.JobServiceClient, _ holdfastv1.StateServiceClient) error {
			w, err := j.Watch(ctx, &holdfastv1.WatchRequest{Job: "nobody"})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		}, failure{reason: "JOB_NOT_FOUND"}},
		{"state of nobody", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.Job = "nobody" })}), failure{reason: "JOB_NOT_FOUND"}},
		{"an unknown state", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.StateName = "x" })}), failure{reason: "STATE_NOT_FOUND"}},
		{"an unknown operator", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.OperatorUid = "x" })}), failure{reason: "STATE_NOT_FOUND"}},
		{"an unknown checkpoint", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.CheckpointId = 99 })}), failure{reason: "STATE_NOT_FOUND"}},
		{"no selector", scan(&holdfastv1.ScanRequest{}), failure{reason: "JOB_NOT_FOUND"}},
		{"a page token of nobody", scan(&holdfastv1.ScanRequest{State: state(nil), PageToken: []byte("garbage")}), failure{reason: "INVALID_REQUEST", metadata: []string{"field"}}},
		{"a page too large", scan(&holdfastv1.ScanRequest{State: state(nil), PageSize: 10001}), failure{reason: "INVALID_REQUEST", metadata: []string{"field"}}},
	} {
		for i := range c.Size() {
			err := c.On(i, func(ctx context.Context, conn *grpc.ClientConn) error {
				return bad.call(ctx, holdfastv1.NewJobServiceClient(conn), holdfastv1.NewStateServiceClient(conn))
			})
			expectFailure(t, bad.name+" on "+c.Node(i).Name, err, bad.want)
		}
	}
	f.WaitAcked(20)
	checkFlusher(t, f)
	mustCancel(t, c, "running")
	expectFailure(t, "cancel twice", c.Cancel("running"), failure{reason: "JOB_STATE", metadata: []string{"status"}})
}

// StateTooLarge passes the limit of a named state: nothing of that flush is
// applied, the job is SUSPENDED and says why, and another job goes on.
func StateTooLarge(t *testing.T, c *harness.Cluster) {
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) }})
	j := newRawJob(t, c, node, harness.FlusherConfig{Job: "greedy", MaxBytes: 100, CheckpointMs: 3_600_000})
	s := j.assigned()
	put := func(seq uint64, keys ...string) {
		s.send(s.flush(seq, func(_ *flushMsg, sec *flushSection) {
			sec.Ops, sec.Keys, sec.KeyLengths, sec.Values, sec.ValueLengths = nil, nil, nil, nil, nil
			for _, k := range keys {
				sec.Ops = append(sec.Ops, byte(holdfastv1.FlushOp_FLUSH_OP_PUT))
				sec.Keys, sec.KeyLengths = append(sec.Keys, k...), append(sec.KeyLengths, uint32(len(k)))
				sec.Values, sec.ValueLengths = append(sec.Values, make([]byte, 8)...), append(sec.ValueLengths, 8)
			}
		}))
	}
	// 12 bytes an entry: eight of them fit, the ninth does not.
	put(1, "k001", "k002", "k003", "k004", "k005", "k006")
	s.awaitAck(1)
	put(2, "k007", "k008", "k009")
	put(3, "k001")
	m := s.await("Refused", func(m *holdfastv1.HostMessage) bool { return m.GetRefused() != nil })
	if r := m.GetRefused(); r.Seq != 2 || r.Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE {
		t.Errorf("the flush above the limit was answered with %v", m)
	}
	d := c.WaitStatus(j.id, holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE {
		t.Errorf("the job is suspended for %v", d.Reason)
	}
	if got := c.Counts(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState}); len(got) != 6 {
		t.Errorf("%d keys after a refused flush, want the 6 from before: %v", len(got), got)
	}
	healthy.WaitAcked(50)
	checkFlusher(t, healthy)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
	c.VerifyReplicas()
}
