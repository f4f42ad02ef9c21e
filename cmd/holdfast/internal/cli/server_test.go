package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fakeNode answers with fixed data, and with errors for the names of jobs that
// ask for them.
type fakeNode struct {
	holdfastv1.UnimplementedJobServiceServer
	holdfastv1.UnimplementedStateServiceServer
	holdfastv1.UnimplementedClusterServiceServer
	address string

	mu sync.Mutex
	// pending is how many triggers are refused because one is pending.
	pending int
	// polls is how many looks at an operation see it in progress.
	polls int
	// unequal lets the replicas differ.
	unequal bool
	// extra are further jobs in List.
	extra []*holdfastv1.JobSummary
	// requestIDs are those of changes.
	requestIDs []string
	scans      []*holdfastv1.ScanRequest
	savepoints []*holdfastv1.TriggerSavepointRequest
	stops      []*holdfastv1.StopRequest
	// exportFails lets operations fail although their checkpoint stands.
	exportFails bool
	gets        []*holdfastv1.GetRequest
	exits       []string
	// watched are sent by Watch, one after the other; then the stream ends.
	watched chan *holdfastv1.JobDescription
	// down makes List answer that there is no leader.
	down atomic.Bool
	// hang lets List wait for its caller to give up.
	hang atomic.Bool
	// restarted makes the node n2, which has applied nothing yet: it knows the
	// members by name, and no address of a client.
	restarted bool
}

// startFake serves a fakeNode on a free port for the time of the test.
func startFake(t *testing.T) *fakeNode {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeNode{address: l.Addr().String(), watched: make(chan *holdfastv1.JobDescription)}
	s := grpc.NewServer()
	holdfastv1.RegisterJobServiceServer(s, f)
	holdfastv1.RegisterStateServiceServer(s, f)
	// Describe is a method of two services with different types.
	holdfastv1.RegisterClusterServiceServer(s, fakeCluster{fakeNode: f})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return f
}

// refusal is an error as the server makes them.
func refusal(code codes.Code, reason holdfastv1.ErrorReason, message string) error {
	st, err := status.New(code, message).WithDetails(&errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(reason.String(), "ERROR_REASON_"), Domain: "holdfast",
	})
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// known answers for the jobs that stand for errors.
func known(job string) error {
	switch job {
	case "counts", "two-states", "0123456789abcdef0123456789abcdef":
		return nil
	case "leaderless":
		return refusal(codes.Unavailable, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, "no leader is known")
	case "suspended":
		return refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE, "the job is SUSPENDED")
	case "broken":
		return status.Error(codes.Internal, "boom")
	}
	return refusal(codes.NotFound, holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, `no job "`+job+`"`)
}

func summary() *holdfastv1.JobSummary {
	return &holdfastv1.JobSummary{
		JobId: "0123456789abcdef0123456789abcdef", Name: "counts", Status: holdfastv1.JobStatus_JOB_STATUS_RUNNING,
		CreatedMs: 1489735311249, Subtasks: 1, SubtasksRunning: 1, LatestCompletedCheckpoint: 7, Restarts: 2,
	}
}

func description(job string) *holdfastv1.JobDescription {
	states := []*holdfastv1.StateDescriptor{{Name: "counters", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}
	if job == "two-states" {
		states = append(states, &holdfastv1.StateDescriptor{Name: "seen", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "bool"})
	}
	return &holdfastv1.JobDescription{
		Summary: summary(),
		Spec: &holdfastv1.JobSpec{
			Name: "counts",
			Operators: []*holdfastv1.Operator{
				{Uid: "source", Name: "Kafka", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "kafka", Topics: []string{"input-topic"}}},
				{Uid: "mapper", Name: "Count", Parallelism: 1, States: states},
			},
			Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: 1000, Mode: holdfastv1.CheckpointMode_CHECKPOINT_MODE_EXACTLY_ONCE},
		},
		Subtasks: []*holdfastv1.SubtaskDescription{{
			OperatorUid: "source", Status: holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING, Attempt: 12, FencingToken: 14,
			NodeId: "aa", NodeName: "n1", ProcessId: "pp", InstanceId: "ii", RestoredCheckpoint: 3, KeyGroupEnd: 128,
			Positions: []*holdfastv1.Position{{Topic: "input-topic", Partition: 1, NextOffset: 42}},
			States:    []*holdfastv1.StateSize{{Name: "counters", Bytes: 2048, Entries: 24, LimitBytes: 5 << 20}},
		}},
		Exceptions: []*holdfastv1.ExceptionRecord{{
			TimeMs: 1489735311249, OperatorUid: "source", Attempt: 9, NodeId: "aa", NodeName: "n1", ProcessId: "p1",
			ExceptionClass: holdfastv1.ExceptionClass_EXCEPTION_CLASS_LOST,
			Error:          &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, Message: "the process is gone"},
		}, {
			TimeMs: 1489735312249, OperatorUid: "source", Attempt: 12, NodeId: "bb", ProcessId: "p2",
			ExceptionClass: holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER,
			Error: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, Message: "panic: division by zero\nsecond line",
				Metadata: map[string]string{"stack": "main.divide\n\tdivide.go:7", "record": "x"}},
		}},
		CheckpointCounts: &holdfastv1.CheckpointCounts{Triggered: 9, Completed: 7, Aborted: 2},
		StandbySlots:     1,
	}
}

func (f *fakeNode) List(ctx context.Context, _ *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	if f.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.down.Load() {
		return nil, refusal(codes.Unavailable, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, "no leader is known")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &holdfastv1.ListResponse{Jobs: append([]*holdfastv1.JobSummary{summary()}, f.extra...)}, nil
}

func (f *fakeNode) Describe(_ context.Context, r *holdfastv1.DescribeRequest) (*holdfastv1.DescribeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.extra {
		if j.GetJobId() == r.GetJob() {
			return &holdfastv1.DescribeResponse{Job: &holdfastv1.JobDescription{Summary: j}}, nil
		}
	}
	if err := known(r.GetJob()); err != nil {
		return nil, err
	}
	return &holdfastv1.DescribeResponse{Job: description(r.GetJob())}, nil
}

func (f *fakeNode) note(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requestIDs = append(f.requestIDs, id)
}

func (f *fakeNode) Cancel(_ context.Context, r *holdfastv1.CancelRequest) (*holdfastv1.CancelResponse, error) {
	f.note(r.GetRequestId())
	return &holdfastv1.CancelResponse{Status: holdfastv1.JobStatus_JOB_STATUS_CANCELED}, known(r.GetJob())
}

func (f *fakeNode) Resume(_ context.Context, r *holdfastv1.ResumeRequest) (*holdfastv1.ResumeResponse, error) {
	f.note(r.GetRequestId())
	if !r.GetAcceptGap() {
		return nil, refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE, "offsets 3 to 9 are gone")
	}
	return &holdfastv1.ResumeResponse{Status: holdfastv1.JobStatus_JOB_STATUS_RUNNING}, known(r.GetJob())
}

func (f *fakeNode) TriggerCheckpoint(_ context.Context, r *holdfastv1.TriggerCheckpointRequest) (*holdfastv1.TriggerCheckpointResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := known(r.GetJob()); err != nil {
		return nil, err
	}
	if f.pending > 0 {
		f.pending--
		return nil, refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_PENDING, "checkpoint 7 is pending")
	}
	return &holdfastv1.TriggerCheckpointResponse{OperationId: "op", CheckpointId: 8}, nil
}

func (f *fakeNode) GetOperation(_ context.Context, r *holdfastv1.GetOperationRequest) (*holdfastv1.GetOperationResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.polls > 0 {
		f.polls--
		return &holdfastv1.GetOperationResponse{Status: holdfastv1.OperationStatus_OPERATION_STATUS_IN_PROGRESS}, nil
	}
	if f.polls < 0 && f.exportFails {
		return &holdfastv1.GetOperationResponse{
			Status: holdfastv1.OperationStatus_OPERATION_STATUS_FAILED, Checkpoint: checkpoint(8),
			Error: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED, Message: "s3 does not answer"},
		}, nil
	}
	if f.polls < 0 {
		return &holdfastv1.GetOperationResponse{Status: holdfastv1.OperationStatus_OPERATION_STATUS_FAILED, Checkpoint: &holdfastv1.Checkpoint{
			Reason: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, Message: "the process is gone"},
		}}, nil
	}
	done := checkpoint(8)
	if r.GetOperationId() == "savepoint" {
		done = savepoint()
	}
	return &holdfastv1.GetOperationResponse{Status: holdfastv1.OperationStatus_OPERATION_STATUS_COMPLETED, Checkpoint: done}, nil
}

func checkpoint(id uint64) *holdfastv1.Checkpoint {
	return &holdfastv1.Checkpoint{
		Id: id, Status: holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED, Trigger: holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_MANUAL,
		TriggeredMs: 1000, EndedMs: 1034, Retained: true, Subtasks: 2, Acks: []*holdfastv1.SubtaskAck{
			{OperatorUid: "source", StateBytes: 100, FlushedBytes: 30, AckedMs: 1034, Times: &holdfastv1.SubtaskCheckpointTimes{
				StartDelayUs: 2500, SyncUs: proto.Uint64(120), AsyncUs: proto.Uint64(31_000)}},
			{OperatorUid: "source", SubtaskIndex: 1, StateBytes: 20, AckedMs: 1010},
		},
	}
}

func aborted() *holdfastv1.Checkpoint {
	return &holdfastv1.Checkpoint{
		Id: 7, Status: holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED, TriggeredMs: 500, EndedMs: 600, Subtasks: 2,
		Acks:   []*holdfastv1.SubtaskAck{{OperatorUid: "source", AckedMs: 510}},
		Reason: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, Message: "the process is gone"},
	}
}

func (f *fakeNode) DescribeCheckpoint(_ context.Context, r *holdfastv1.DescribeCheckpointRequest) (*holdfastv1.DescribeCheckpointResponse, error) {
	switch {
	case known(r.GetJob()) != nil:
		return nil, known(r.GetJob())
	case r.GetCheckpointId() == 8:
		return &holdfastv1.DescribeCheckpointResponse{Checkpoint: checkpoint(8)}, nil
	case r.GetCheckpointId() == 9:
		return &holdfastv1.DescribeCheckpointResponse{Checkpoint: savepoint()}, nil
	case r.GetCheckpointId() == 7:
		return &holdfastv1.DescribeCheckpointResponse{Checkpoint: aborted(), Missing: []*holdfastv1.SubtaskName{{OperatorUid: "source", SubtaskIndex: 1}}}, nil
	}
	return nil, refusal(codes.NotFound, holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND, "checkpoint 99 is not remembered")
}

func (f *fakeNode) Watch(r *holdfastv1.WatchRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchResponse]) error {
	if err := known(r.GetJob()); err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-f.watched:
			if !ok {
				return nil
			}
			if err := stream.Send(&holdfastv1.WatchResponse{Job: d}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (f *fakeNode) ListCheckpoints(_ context.Context, r *holdfastv1.ListCheckpointsRequest) (*holdfastv1.ListCheckpointsResponse, error) {
	if err := known(r.GetJob()); err != nil {
		return nil, err
	}
	return &holdfastv1.ListCheckpointsResponse{
		Checkpoints: []*holdfastv1.Checkpoint{checkpoint(8), aborted()},
		Counts:      &holdfastv1.CheckpointCounts{Triggered: 8, Completed: 6, Aborted: 2, Restored: 1},
		Summary: &holdfastv1.CheckpointSummary{
			EndToEndMs:   &holdfastv1.StatsSummary{Count: 6, Min: 30, Max: 50, Sum: 240},
			StateBytes:   &holdfastv1.StatsSummary{Count: 6, Min: 100, Max: 4096, Sum: 6 * 2048},
			FlushedBytes: &holdfastv1.StatsSummary{Count: 6, Max: 60, Sum: 60},
		},
	}, nil
}

func (f *fakeNode) ReportProcessExit(_ context.Context, r *holdfastv1.ReportProcessExitRequest) (*holdfastv1.ReportProcessExitResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exits = append(f.exits, r.GetProcessId())
	return &holdfastv1.ReportProcessExitResponse{}, nil
}

func (f *fakeNode) Get(_ context.Context, r *holdfastv1.GetRequest) (*holdfastv1.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets = append(f.gets, r)
	answer := &holdfastv1.GetResponse{Type: "int64"}
	for _, k := range r.GetKeys() {
		e := &holdfastv1.StateEntry{Key: k}
		if string(k) != "absent" {
			e.Found, e.Value = true, []byte{3, 0, 0, 0, 0, 0, 0, 0}
		}
		answer.Entries = append(answer.Entries, e)
	}
	return answer, nil
}

func (f *fakeNode) Scan(_ context.Context, r *holdfastv1.ScanRequest) (*holdfastv1.ScanResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scans = append(f.scans, r)
	answer := &holdfastv1.ScanResponse{Type: "int64", NextPageToken: []byte{0xfb, 0xff}}
	if len(r.GetPageToken()) > 0 {
		answer.NextPageToken = nil
	}
	answer.Entries = []*holdfastv1.StateEntry{
		{Key: []byte("kelp"), Value: []byte{3, 0, 0, 0, 0, 0, 0, 0}, Found: true},
		{Key: []byte{1, 0, 0, 0, 0, 0, 0, 0}, Value: []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Found: true},
	}
	return answer, nil
}

type fakeCluster struct {
	holdfastv1.UnimplementedClusterServiceServer
	fakeNode *fakeNode
}

func (f fakeCluster) Describe(context.Context, *holdfastv1.ClusterServiceDescribeRequest) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	if f.fakeNode.restarted {
		return &holdfastv1.ClusterServiceDescribeResponse{
			ClusterId: "cc", NodeId: "bb", LeaderId: "aa", Term: 3, LastLogIndex: 80, ServerVersion: "0.2.0",
			Members: []*holdfastv1.Member{{NodeId: "aa", Name: "n1", Voter: true}, {NodeId: "bb", Name: "n2", Voter: true}},
		}, nil
	}
	return &holdfastv1.ClusterServiceDescribeResponse{
		ClusterId: "cc", NodeId: "aa", LeaderId: "aa", Term: 3, AppliedIndex: 90, LastLogIndex: 91, SnapshotIndex: 50,
		ServerVersion: "0.2.0", ClusterVersion: 2,
		Members: []*holdfastv1.Member{
			{NodeId: "aa", Name: "n1", ClientAddress: f.fakeNode.address, Voter: true, Leader: true, MinClusterVersion: 1, MaxClusterVersion: 2},
			{NodeId: "bb", Name: "n2", ClientAddress: "127.0.0.1:1", Voter: true},
		},
	}, nil
}

func (f fakeCluster) VerifyReplicas(context.Context, *holdfastv1.VerifyReplicasRequest) (*holdfastv1.VerifyReplicasResponse, error) {
	second := "beef"
	if f.fakeNode.unequal {
		second = "dead"
	}
	return &holdfastv1.VerifyReplicasResponse{Index: 91, Equal: !f.fakeNode.unequal, Replicas: []*holdfastv1.ReplicaHash{
		{NodeId: "aa", Name: "n1", Reachable: true, Hash: "beef"}, {NodeId: "bb", Name: "n2", Reachable: true, Hash: second, RestoredSnapshotIndex: 50},
	}}, nil
}

// noMember is what a node says of a member that the cluster does not have.
func noMember(what, node string) error {
	return refusal(codes.NotFound, holdfastv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND,
		what+": no such member: \""+node+"\"; the members are n1 (aa), n2 (bb); `holdfast cluster status` shows the members")
}

func (f fakeCluster) AddNode(_ context.Context, r *holdfastv1.AddNodeRequest) (*holdfastv1.AddNodeResponse, error) {
	return nil, refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_NODE_UNREACHABLE,
		"add the node at "+r.PeerAddress+": no node answers at this peer address; start it with --join, and give the address of its --peer-listen as the members of the cluster reach it")
}

func (f fakeCluster) RemoveNode(_ context.Context, r *holdfastv1.RemoveNodeRequest) (*holdfastv1.RemoveNodeResponse, error) {
	if r.Node == "n2" {
		return nil, refusal(codes.FailedPrecondition, holdfastv1.ErrorReason_ERROR_REASON_QUORUM_AT_RISK, "node n2 is not removed: no other could be lost then; add a node first (`holdfast cluster add`), or say --force")
	}
	return nil, noMember("remove node "+r.Node, r.Node)
}

func (f fakeCluster) TransferLeadership(_ context.Context, r *holdfastv1.TransferLeadershipRequest) (*holdfastv1.TransferLeadershipResponse, error) {
	return nil, noMember("transfer leadership to "+r.Node, r.Node)
}

// hermetic keeps the person's contexts and variables out of a test.
func hermetic(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv(addressVariable, "")
	t.Setenv(contextVariable, "")
}

var progressLine = regexp.MustCompile(`(?m)^holdfast: .* \(\d+ s\)\n`)

// invoke runs a command line against a fake node. Progress, which a slow machine
// makes, is not what it tells of stderr.
func invoke(f *fakeNode, args ...string) (exit.Code, string, string) {
	var stdout, stderr bytes.Buffer
	args = append([]string{"--address", f.address, "--timeout", "1m"}, args...)
	code := Main(args, &stdout, &stderr)
	return code, stdout.String(), progressLine.ReplaceAllString(stderr.String(), "")
}

const childEnv = "HOLDFAST_CLI_TEST_CHILD"

// TestMain lets the test binary be an operator program too.
func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "done":
		os.Exit(0)
	case "main":
		// The command line itself, for tests that need it on a terminal.
		os.Exit(int(Main(os.Args[1:], os.Stdout, os.Stderr)))
	case "refused":
		fmt.Fprintln(os.Stderr, "JOB_SPEC_DIFFERS: it differs")
		os.Exit(refusedCode)
	case "fail":
		fmt.Fprintln(os.Stderr, "cannot read the topic")
		os.Exit(4)
	}
}
