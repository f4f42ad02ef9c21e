package stateserver

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// leaderWait is how long a call without a deadline looks for a leader that
// answers.
const leaderWait = 30 * time.Second

// tryTimeout bounds one question to one leader, which may be stopped or cut off.
const tryTimeout = 2 * time.Second

// memberTimeout bounds a change of the members: a new node may have to load a
// large snapshot first.
const memberTimeout = 10 * time.Minute

// deadlineReserve is kept of a caller's deadline, so that it reads NO_LEADER and
// not only that its time is over.
const deadlineReserve = 100 * time.Millisecond

// leaderMethods are the calls that only the leader answers. All of them may be
// sent again: what changes something has a request id or is judged by content.
// The value bounds one question to one leader.
var leaderMethods = map[string]time.Duration{
	holdfastv1.JobService_List_FullMethodName:               tryTimeout,
	holdfastv1.JobService_Describe_FullMethodName:           tryTimeout,
	holdfastv1.JobService_ListCheckpoints_FullMethodName:    tryTimeout,
	holdfastv1.JobService_DescribeCheckpoint_FullMethodName: tryTimeout,
	holdfastv1.JobService_GetOperation_FullMethodName:       tryTimeout,
	holdfastv1.StateService_Get_FullMethodName:              tryTimeout,
	holdfastv1.StateService_Scan_FullMethodName:             tryTimeout,

	holdfastv1.ClusterService_AddNode_FullMethodName:            memberTimeout,
	holdfastv1.ClusterService_RemoveNode_FullMethodName:         memberTimeout,
	holdfastv1.ClusterService_TransferLeadership_FullMethodName: memberTimeout,
}

// toLeader answers the leader's calls here if this node leads and has applied
// all that is committed; else, on the public port, it asks the leader.
func (s *Server) toLeader(public bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !asksLeader(info.FullMethod) {
			return handler(ctx, req)
		}
		if !public {
			if err := s.store.Barrier(ctx); err != nil {
				return nil, toStatus(noLeader())
			}
			return handler(ctx, req)
		}
		in, ok := req.(proto.Message)
		if !ok {
			return nil, status.Errorf(codes.Internal, "a request is a %T", req)
		}
		out, err := newResponse(info.FullMethod)
		if err != nil {
			return nil, err
		}
		for attempt := 0; ; attempt++ {
			if s.leaderID() == s.store.ID() && s.store.Barrier(ctx) == nil {
				// It may hand over in the middle: its successor answers then.
				if out, err := handler(ctx, req); err == nil || !retryable(err) {
					return done(attempt, req, out, err)
				}
			} else if err := s.askOnce(ctx, info.FullMethod, in, out); err == nil || !retryable(err) {
				return done(attempt, req, out, err)
			}
			if err := s.awaitLeader(ctx, attempt); err != nil {
				return nil, err
			}
		}
	}
}

// done is the answer to a call that was asked attempt times before. A member that
// is not there any more was removed by one of these, whose answer was lost.
func done(attempt int, req, out any, err error) (any, error) {
	r, removes := req.(*holdfastv1.RemoveNodeRequest)
	if removes && attempt > 0 && status.Code(err) == codes.NotFound {
		return &holdfastv1.RemoveNodeResponse{Member: &holdfastv1.Member{Name: r.Node}}, nil
	}
	return out, err
}

// askLeader asks whoever leads, this node too, until somebody answers.
func (s *Server) askLeader(ctx context.Context, method string, in, out proto.Message) error {
	handler := s.toLeader(true)
	got, err := handler(ctx, in, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, req any) (any, error) {
		return s.local(ctx, method, req)
	})
	if err == nil {
		proto.Merge(out, got.(proto.Message))
	}
	return err
}

// local answers the one call that this server asks itself.
func (s *Server) local(ctx context.Context, method string, req any) (any, error) {
	if r, ok := req.(*holdfastv1.DescribeRequest); ok && method == holdfastv1.JobService_Describe_FullMethodName {
		return (&jobService{s: s}).Describe(ctx, r)
	}
	return nil, status.Errorf(codes.Unimplemented, "%s is not asked from within", method)
}

func (s *Server) askOnce(ctx context.Context, method string, in, out proto.Message) error {
	leader := s.leaderID()
	if leader == "" || leader == s.store.ID() {
		return toStatus(noLeader())
	}
	conn, err := s.peers.conn(leader)
	if err != nil {
		return toStatus(noLeader())
	}
	try, cancel := context.WithTimeout(ctx, leaderMethods[method])
	defer cancel()
	defer s.whileLeads(leader, cancel)()
	err = conn.Invoke(try, method, in, out)
	if err != nil && try.Err() != nil && ctx.Err() == nil {
		return toStatus(noLeader())
	}
	return err
}

// whileLeads calls cancel a while after another node took over: one that was
// stopped or cut off does not answer, and its successor does. One that handed
// over still does. The function it returns ends that.
func (s *Server) whileLeads(leader string, cancel func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(retryDelay)
		defer t.Stop()
		var over time.Time
		for over.IsZero() || time.Since(over) < tryTimeout {
			select {
			case <-t.C:
			case <-done:
				return
			}
			if now := s.leaderID(); over.IsZero() && now != leader && now != "" {
				over = time.Now()
			}
		}
		cancel()
	}()
	return sync.OnceFunc(func() { close(done) })
}

func retryable(err error) bool { return status.Code(err) == codes.Unavailable }

// awaitLeader waits a little before the next try; the error says that the time
// is over.
func (s *Server) awaitLeader(ctx context.Context, attempt int) error {
	deadline, bounded := ctx.Deadline()
	if time.Duration(attempt)*retryDelay > leaderWait || bounded && time.Until(deadline) < deadlineReserve {
		return toStatus(noLeader())
	}
	t := time.NewTimer(retryDelay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return toStatus(noLeader())
	case <-s.ctx.Done():
		return toStatus(noLeader())
	}
}

// newResponse makes the empty response of a method, from its descriptor.
func newResponse(fullMethod string) (proto.Message, error) {
	name := strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%s is no method", fullMethod)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return t.New().Interface(), nil
}
