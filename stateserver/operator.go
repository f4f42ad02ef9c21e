package stateserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The protocol versions that this server speaks.
const minProtocolVersion, maxProtocolVersion = 1, 1

// helloTimeout bounds the time to the first message of a stream, if the session
// timeout does not do so earlier.
const helloTimeout = 10 * time.Second

func (s *Server) helloTimeout() time.Duration { return min(helloTimeout, s.cfg.SessionTimeout) }

// maxUIDs, maxUIDBytes and maxIDBytes bound Hello, which the leader is told of.
const maxUIDs, maxUIDBytes, maxIDBytes = coordinator.MaxOperators, 128, 64

// lastWord bounds the wait for a client that does not read to take what is
// queued for it.
const lastWord = time.Second

var errJobEnded = errors.New("the job ended")

// operatorService serves operator streams.
type operatorService struct {
	holdfastv1.UnimplementedOperatorServiceServer
	s *Server
}

// Run implements holdfastv1.OperatorService.
func (o *operatorService) Run(stream holdfastv1.OperatorService_RunServer) error {
	hello, err := o.firstMessage(stream)
	if err != nil {
		return err
	}
	if e := o.s.unfit(); e != nil {
		return toStatus(e)
	}
	if !o.s.awaitCaughtUp(stream.Context()) {
		return toStatus(catchingUpError())
	}
	x := newSession(stream.Context(), o.s, hello)
	defer x.end(nil)
	if err := o.awaitJob(x); err != nil {
		return err
	}
	x.push(o.welcome(x))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		x.send(stream)
	}()
	go x.recv(stream)
	go x.answerGets()
	// Not before it is settled: a stream that the leader hears of and that holds
	// nothing is a standby, and would be given a second subtask.
	x.resume()
	// A stream that ended before its resume was settled has no more to say: what
	// the log makes of the proposal, the client learns on its next stream. A look at
	// the state would find the attempt not held and call it over.
	if x.ctx.Err() == nil {
		o.s.hosts.add(x)
		defer o.s.hosts.remove(x)
		x.follow()
	}
	x.mu.Lock()
	x.drop()
	x.mu.Unlock()
	select {
	case <-sent:
	case <-time.After(lastWord): // returning ends the send to a client that does not read
	}
	o.s.metrics.streamEnded(context.Cause(x.ctx), o.s.ctx.Err() != nil)
	return x.cause()
}

// firstMessage reads and checks Hello.
func (o *operatorService) firstMessage(stream holdfastv1.OperatorService_RunServer) (*holdfastv1.Hello, error) {
	type first struct {
		m   *holdfastv1.OperatorMessage
		err error
	}
	got := make(chan first, 1)
	go func() {
		m, err := stream.Recv()
		got <- first{m, err}
	}()
	select {
	case f := <-got:
		if f.err != nil {
			return nil, f.err
		}
		return checkHello(f.m.GetHello())
	case <-time.After(o.s.helloTimeout()):
		return nil, toStatus(violation("3.1", fmt.Sprintf("no Hello came within %s", o.s.helloTimeout())))
	case <-o.s.ctx.Done():
		return nil, toStatus(noLeader())
	}
}

func checkHello(h *holdfastv1.Hello) (*holdfastv1.Hello, error) {
	switch {
	case h == nil:
		return nil, toStatus(violation("3.1", "the first message of a stream must be Hello"))
	case h.ProtocolVersion < minProtocolVersion || h.ProtocolVersion > maxProtocolVersion:
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED,
			fmt.Sprintf("Hello: protocol version %d is not supported; this node (version %s) speaks %d to %d: use a client for one of these, or a node of another version",
				h.ProtocolVersion, version.Version, minProtocolVersion, maxProtocolVersion),
			"min", strconv.Itoa(minProtocolVersion), "max", strconv.Itoa(maxProtocolVersion)))
	case h.InstanceId == "" || len(h.InstanceId) > maxIDBytes || len(h.ProcessId) > maxIDBytes:
		return nil, toStatus(violation("3.1", fmt.Sprintf("Hello: instance_id has %d characters and process_id %d; 1 to %d and 0 to %d are allowed",
			len(h.InstanceId), len(h.ProcessId), maxIDBytes, maxIDBytes)))
	case len(h.OperatorUids) > maxUIDs:
		return nil, toStatus(violation("3.1", fmt.Sprintf("Hello: %d operator uids, at most %d are allowed", len(h.OperatorUids), maxUIDs)))
	}
	for _, uid := range h.OperatorUids {
		if len(uid) > maxUIDBytes {
			return nil, toStatus(violation("3.1", fmt.Sprintf("Hello: an operator uid has %d characters, at most %d are allowed", len(uid), maxUIDBytes)))
		}
	}
	return h, nil
}

// awaitJob waits until this node knows the job: it may lag behind the one that
// answered Submit. Only the leader can say that there is no such job.
func (o *operatorService) awaitJob(x *session) error {
	changes, stop := o.s.store.Watch("")
	defer stop()
	deadline := time.NewTimer(helloTimeout)
	defer deadline.Stop()
	asked := false
	for {
		known := false
		x.view(func(m *coordinator.Machine) { _, _, known = m.JobStatusOf(x.jobID) })
		if known {
			return nil
		}
		if !asked {
			asked = true
			if err := o.s.askLeader(x.ctx, holdfastv1.JobService_Describe_FullMethodName,
				&holdfastv1.DescribeRequest{Job: x.jobID}, &holdfastv1.DescribeResponse{}); err != nil {
				return err
			}
		}
		select {
		case <-changes:
		case <-deadline.C:
			return toStatus(noLeader())
		case <-x.ctx.Done():
			return x.ctx.Err()
		case <-o.s.ctx.Done():
			return toStatus(noLeader())
		}
	}
}

func (o *operatorService) welcome(x *session) *holdfastv1.HostMessage {
	w := &holdfastv1.Welcome{
		SessionId: x.id, ClusterId: o.s.store.ClusterID(), NodeId: o.s.store.ID(), ServerVersion: version.Version,
		HeartbeatIntervalMs: uint32(o.s.cfg.HeartbeatInterval.Milliseconds()),
		SessionTimeoutMs:    uint32(o.s.cfg.SessionTimeout.Milliseconds()), Limits: x.limits,
	}
	x.view(func(m *coordinator.Machine) {
		w.Addresses = m.ClientAddresses()
		x.limits.OperatorStateBytes = uint32(m.OperatorStateLimitOf(x.jobID))
	})
	return &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Welcome{Welcome: w}}
}

// send writes what is queued until the stream ends; then what is left, so that
// the last word reaches the client.
func (x *session) send(stream holdfastv1.OperatorService_RunServer) {
	for {
		var m *holdfastv1.HostMessage
		select {
		case m = <-x.out:
		case m = <-x.values:
		case <-x.ctx.Done():
			x.sendLast(stream)
			return
		}
		if err := stream.Send(m); err != nil {
			x.end(err)
			return
		}
	}
}

func (x *session) sendLast(stream holdfastv1.OperatorService_RunServer) {
	for {
		select {
		case m := <-x.out:
			if stream.Send(m) != nil {
				return
			}
		default:
			return
		}
	}
}

// cause is what the client sees as the end of the stream.
func (x *session) cause() error {
	err := context.Cause(x.ctx)
	switch {
	case errors.Is(err, errJobEnded), errors.Is(err, context.Canceled):
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// giveUp tells the log that an attempt is over of which its own operator says that
// the stream broke, so that the subtask need not wait for its host to be missed. An
// error is that the log was not reached: the client says so again.
func (x *session) giveUp(ctx context.Context, v coordinator.SubtaskView) *holdfastv1.Error {
	if v.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING && v.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING {
		return nil
	}
	_, _, e := x.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: &internalv1.LoseSubtask{
		SubtaskId: v.ID, FencingToken: v.Token, TimeMs: x.s.clock.now().UnixMilli(), GivenUp: true,
		Error: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, "its stream ended, and with it the working state on the host"),
	}}})
	if e.GetReason() == holdfastv1.ErrorReason_ERROR_REASON_FENCED {
		return nil // it is over already
	}
	return e
}

// resume settles Hello.resume: the attempt moves to this stream, or the client
// is told what is current. It proposes with the token that this node shows and
// tries again while that is behind.
func (x *session) resume() {
	attempt := x.hello.GetResume().GetAttempt()
	if attempt == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.s.cfg.SessionTimeout)
	defer cancel()
	if err := x.s.store.WaitApplied(ctx, attempt); err != nil {
		x.fail(noLeader())
		return
	}
	for ctx.Err() == nil {
		var v coordinator.SubtaskView
		x.view(func(m *coordinator.Machine) { v, _ = m.SubtaskOfInstance(x.jobID, x.hello.InstanceId) })
		if v.Attempt == attempt && v.Refusal != nil {
			v = coordinator.SubtaskView{} // over, though no other has begun
		}
		if v.Attempt == attempt && v.OnHost {
			// Its working state belongs to the stream that broke: another one gets the
			// subtask by a new attempt.
			if e := x.giveUp(ctx, v); e != nil {
				x.fail(e)
				return
			}
			v = coordinator.SubtaskView{}
		}
		if v.Attempt != attempt {
			x.push(fencedMessage(v.Token, v.Attempt))
			return
		}
		if v.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
			// Nothing is left to hold; the answer acknowledges Finished.
			x.push(resumeMessage(v))
			return
		}
		x.mu.Lock()
		x.resuming = attempt
		x.mu.Unlock()
		_, index, e := x.s.fwd.do(ctx, &internalv1.Command{Command: &internalv1.Command_ResumeSubtask{ResumeSubtask: &internalv1.ResumeSubtask{
			SubtaskId: v.ID, Attempt: attempt, ExpectedToken: v.Token, InstanceId: x.hello.InstanceId, NodeId: x.s.store.ID(), SessionId: x.id,
		}}})
		if index != 0 && x.s.store.WaitApplied(ctx, index) != nil {
			break
		}
		switch e.GetReason() {
		case holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
			return
		case holdfastv1.ErrorReason_ERROR_REASON_FENCED:
			// This node now shows at least what the log judged by.
			select {
			case <-time.After(retryDelay):
			case <-ctx.Done():
			}
		default:
			x.fail(e)
			return
		}
	}
	x.fail(noLeader())
}
