package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/version"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// BadSubmissions submits what cannot run, and what is taken already.
func BadSubmissions(t *testing.T, c *harness.Cluster) {
	good := harness.FlusherConfig{Job: "good", Slots: 1}.Spec()
	id := c.MustSubmit(good)
	if again := c.MustSubmit(proto.CloneOf(good)); again != id {
		t.Errorf("the same specification again makes the job %s, not %s", again, id)
	}
	// coordinator's own test has every refusal with its text.
	refusedSpec := failure{code: codes.InvalidArgument, reason: "INVALID_JOB_SPEC", outcome: "final", metadata: []string{"field"}}
	for _, bad := range []struct {
		name   string
		change func(s *holdfastv1.JobSpec)
		want   failure
	}{
		{"another job under a running name", func(s *holdfastv1.JobSpec) { s.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: 1000} },
			failure{reason: "JOB_SPEC_DIFFERS", outcome: "final", metadata: []string{"difference", "job_id"},
				message: `a job "good" runs with another specification (checkpoint.interval_ms is 0, submitted is 1000; checkpoint.mode is CHECKPOINT_MODE_UNSPECIFIED, submitted is CHECKPOINT_MODE_EXACTLY_ONCE; checkpoint.timeout_ms is 0, submitted is 600000; checkpoint.num_retained is 0, submitted is 1; checkpoint.storage is CHECKPOINT_STORAGE_UNSPECIFIED, submitted is CHECKPOINT_STORAGE_JOBMANAGER; checkpoint.retention is CHECKPOINT_RETENTION_UNSPECIFIED, submitted is CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS; checkpoint.inline_threshold is 0, submitted is 20480; restart_strategy.fixed_delay is set, submitted is not set; and 1 more); cancel it or choose another name`}},
		{"parallelism 0", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Parallelism = "p0", 0 },
			refusedSpec},
		{"keyBy at parallelism 2", func(s *holdfastv1.JobSpec) {
			s.Name, s.Operators[0].Parallelism, s.Operators[1].Parallelism = "keyby2", 2, 2
		}, refusedSpec},
		{"no name", func(s *holdfastv1.JobSpec) { s.Name = "" }, refusedSpec},
		{"no operators", func(s *holdfastv1.JobSpec) { s.Name, s.Operators = "none", nil }, refusedSpec},
		{"an unknown backend", func(s *holdfastv1.JobSpec) { s.Name, s.StateBackend.Name = "backend", "clay" }, refusedSpec},
		{"two operators of one uid", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Uid = "uid", s.Operators[0].Uid }, refusedSpec},
		{"an input from nowhere", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].Inputs[0].OperatorUid = "input", "nobody" }, refusedSpec},
		{"an unknown type", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].States[0].Type = "type", "decimal" }, refusedSpec},
		{"a checkpoint every millisecond", func(s *holdfastv1.JobSpec) {
			s.Name, s.Checkpoint = "often", &holdfastv1.CheckpointConfig{IntervalMs: 1}
		}, refusedSpec},
		{"a property map of 1 MiB", func(s *holdfastv1.JobSpec) {
			s.Name, s.Operators[0].Source.Properties = "properties", map[string]string{"big": strings.Repeat("x", 1<<20)}
		}, failure{code: codes.ResourceExhausted, reason: "COMMAND_TOO_LARGE", outcome: "final",
			message: "the specification of job \"properties\" has # bytes, at most # fit into one entry of the log; the properties of source \"" + good.Operators[0].Uid + "\" take most: let the program read large settings itself"}},
		{"10,000 operators", func(s *holdfastv1.JobSpec) { s.Name, s.Operators = "operators", slices.Repeat(s.Operators[:1], 10_000) },
			failure{code: codes.InvalidArgument, reason: "INVALID_JOB_SPEC", outcome: "final", message: "a job has 1 to 256 operators, this one 10000"}},
		{"a name of 3 MiB", func(s *holdfastv1.JobSpec) { s.Name = strings.Repeat("n", 3<<20) }, failure{code: codes.InvalidArgument, reason: "INVALID_JOB_SPEC", outcome: "final",
			message: "the job name \"" + strings.Repeat("n", 128) + "\"... is not 1 to 128 of the characters A-Z a-z 0-9 . _ - and space, the first one neither dot nor space"}},
		{"4 GiB of key groups", func(s *holdfastv1.JobSpec) { s.Name, s.Operators[1].MaxParallelism = "groups", 1<<32-1 }, refusedSpec},
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
	type call func(ctx context.Context, conn *grpc.ClientConn) error
	scan := func(r *holdfastv1.ScanRequest) call {
		return func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := holdfastv1.NewStateServiceClient(conn).Scan(ctx, r)
			return err
		}
	}
	job := func(f func(ctx context.Context, j holdfastv1.JobServiceClient) error) call {
		return func(ctx context.Context, conn *grpc.ClientConn) error {
			return f(ctx, holdfastv1.NewJobServiceClient(conn))
		}
	}
	raw := func(method string, request []byte) call {
		return func(ctx context.Context, conn *grpc.ClientConn) error {
			return harness.InvokeRaw(ctx, conn, method, request)
		}
	}
	unimplemented := func(method string) failure {
		return failure{code: codes.Unimplemented, reason: "METHOD_NOT_FOUND", outcome: "final", metadata: []string{"method"}, message: "unknown method " + method + ": this node (holdfastd " + version.Version + ") does not have it; use a client of the same version or an older one"}
	}
	nobody := notFound("JOB_NOT_FOUND", "no job \"nobody\"; `holdfast list` shows the jobs")
	long := strings.Repeat("x", 100)
	for _, bad := range []struct {
		name string
		call call
		want failure
	}{
		{"describe nobody", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Describe(ctx, &holdfastv1.DescribeRequest{Job: "nobody"})
			return err
		}), nobody},
		{"describe a name of 1 MiB", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Describe(ctx, &holdfastv1.DescribeRequest{Job: strings.Repeat("x", 1<<20)})
			return err
		}), notFound("JOB_NOT_FOUND", "no job \""+strings.Repeat("x", 128)+"\"...; `holdfast list` shows the jobs")},
		{"cancel nobody", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Cancel(ctx, &holdfastv1.CancelRequest{Job: "nobody"})
			return err
		}), nobody},
		{"cancel with a long request id", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Cancel(ctx, &holdfastv1.CancelRequest{Job: "running", RequestId: long})
			return err
		}), invalidRequest("the request id has 100 characters, at most 64 are allowed")},
		{"resume what runs", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Resume(ctx, &holdfastv1.ResumeRequest{Job: "running"})
			return err
		}), jobState("running", "RUNNING", "only a SUSPENDED job is resumed")},
		{"trigger without checkpoints", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: "running", RequestId: "x"})
			return err
		}), failure{code: codes.FailedPrecondition, reason: "CHECKPOINTS_DISABLED", outcome: "final", message: "job \"running\" runs without checkpoints; enable them in the program (EnableCheckpointing)"}},
		{"a savepoint without checkpoints", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: "running", Directory: c.CheckpointDir("savepoints")})
			return err
		}), failure{code: codes.FailedPrecondition, reason: "CHECKPOINTS_DISABLED", outcome: "final", message: "job \"running\" runs without checkpoints; enable them in the program (EnableCheckpointing)"}},
		{"a savepoint out of its root", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: "running", Directory: "file:///tmp/../etc"})
			return err
		}), invalidRequest(`the directory "file:///tmp/../etc" has the element ".."; write the directory that is meant`)},
		{"stop nobody", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Stop(ctx, &holdfastv1.StopRequest{Job: "nobody"})
			return err
		}), nobody},
		{"dispose of no directory", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.DisposeSavepoint(ctx, &holdfastv1.DisposeSavepointRequest{Path: "/tmp/x"})
			return err
		}), invalidRequest(`the directory "/tmp/x" has no scheme; a mount that every node has at the same path is written file:///tmp/x`)},
		{"an unknown operation", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.GetOperation(ctx, &holdfastv1.GetOperationRequest{OperationId: "nothing"})
			return err
		}), notFound("OPERATION_NOT_FOUND", "no operation \"nothing\"; operations are remembered for the last # checkpoints of a job, `holdfast checkpoints` lists them")},
		{"checkpoints of nobody", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: "nobody"})
			return err
		}), nobody},
		{"watch nobody", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			w, err := j.Watch(ctx, &holdfastv1.WatchRequest{Job: "nobody"})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		}), nobody},
		{"the exit of no process", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.ReportProcessExit(ctx, &holdfastv1.ReportProcessExitRequest{})
			return err
		}), invalidRequest("the process id has 0 characters, 1 to 64 are allowed")},
		{"a submission id too long", job(func(ctx context.Context, j holdfastv1.JobServiceClient) error {
			_, err := j.Submit(ctx, &holdfastv1.SubmitRequest{Spec: harness.FlusherConfig{Job: "long", Slots: 1}.Spec(), SubmissionId: long})
			return err
		}), invalidRequest("the submission id has 100 characters, at most 64 are allowed")},
		{"state of nobody", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.Job = "nobody" })}), nobody},
		{"an unknown state", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.StateName = "x" })}),
			notFound("STATE_NOT_FOUND", `job "running" has no state "x" of operator "`+harness.FlusherOperator+`"; it has: `+harness.FlusherState+" of "+harness.FlusherOperator)},
		{"an unknown operator", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.OperatorUid = "x" })}),
			notFound("STATE_NOT_FOUND", `job "running" has no state "`+harness.FlusherState+`" of operator "x"; it has: `+harness.FlusherState+" of "+harness.FlusherOperator)},
		{"an unknown checkpoint", scan(&holdfastv1.ScanRequest{State: state(func(s *holdfastv1.StateSelector) { s.CheckpointId = 99 })}),
			notFound("STATE_NOT_FOUND", "checkpoint 99 of job \"running\" is not retained; `holdfast checkpoints` lists what is")},
		{"no selector", scan(&holdfastv1.ScanRequest{}), notFound("JOB_NOT_FOUND", "no job \"\"; `holdfast list` shows the jobs")},
		{"a page token of nobody", scan(&holdfastv1.ScanRequest{State: state(nil), PageToken: []byte("garbage")}),
			invalidRequest("the page token is not one that this server gave; begin anew without one")},
		{"a page too large", scan(&holdfastv1.ScanRequest{State: state(nil), PageSize: 10001}), invalidRequest("a page of 10001 entries, at most 10000 are allowed")},
		{"a Get of 10,001 keys", func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := holdfastv1.NewStateServiceClient(conn).Get(ctx, &holdfastv1.GetRequest{State: state(nil), Keys: make([][]byte, 10_001)})
			return err
		}, invalidRequest("10001 keys, at most 10000 are allowed; send several Gets")},
		{"random bytes", raw(holdfastv1.JobService_Describe_FullMethodName, []byte("\xff\xff random")),
			invalidRequest("9 bytes are no message DescribeRequest; the client was generated from another proto file, or something is between it and this node; see rule 3.7 of docs/protocol.md")},
		{"a request of 5 MiB", raw(holdfastv1.JobService_Describe_FullMethodName, make([]byte, 5<<20)),
			failure{code: codes.ResourceExhausted, reason: tooLarge, outcome: "final", message: "a message DescribeRequest has 5242880 bytes, at most 4194304 are allowed; send several"}},
		// The transport refuses it before anybody could read what it is.
		{"a request of 9 MiB", raw(holdfastv1.JobService_Describe_FullMethodName, make([]byte, 9<<20)),
			failure{code: codes.ResourceExhausted, message: "grpc: received message larger than max (9437184 vs. 8388608)"}},
		{"an unknown service", raw("/holdfast.v1.NoService/Do", nil), unimplemented("/holdfast.v1.NoService/Do")},
		{"an unknown method", raw("/holdfast.v1.JobService/Frobnicate", nil), unimplemented("/holdfast.v1.JobService/Frobnicate")},
		{"a call that is for other nodes", raw("/holdfast.internal.v1.PeerService/Propose", nil), unimplemented("/holdfast.internal.v1.PeerService/Propose")},
	} {
		for i := range c.Size() {
			expectFailure(t, bad.name+" on "+c.Node(i).Name, c.On(i, bad.call), bad.want)
		}
	}
	f.WaitAcked(20)
	checkFlusher(t, f)
	mustCancel(t, c, "running")
	expectFailure(t, "cancel twice", c.Cancel("running"), jobState("running", "CANCELED", "it has ended already"))
}

func invalidRequest(text string) failure {
	return failure{code: codes.InvalidArgument, reason: "INVALID_REQUEST", outcome: "final", message: text, metadata: []string{"field"}}
}

func jobState(job, status, why string) failure {
	return failure{code: codes.FailedPrecondition, reason: "JOB_STATE", outcome: "final", message: fmt.Sprintf("job %q is %s: %s", job, status, why), metadata: []string{"status"}}
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
	want := fmt.Sprintf("state %q of operator %q: it would hold 108 bytes, its limit is 100; raise state.memory.max-size, or keep less", harness.FlusherState, harness.FlusherOperator)
	if got := m.GetRefused().Error.GetMessage(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d := c.WaitStatus(j.id, holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE {
		t.Errorf("the job is suspended for %v", d.Reason)
	}
	if x := d.Exceptions; len(x) != 1 || x[0].Error.GetMessage() != want || x[0].TimeMs == 0 || x[0].NodeName == "" {
		t.Errorf("the exception history has %v", x)
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
