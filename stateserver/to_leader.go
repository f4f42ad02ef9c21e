package stateserver

import (
	"context"
	"strings"
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

// deadlineReserve is kept of a caller's deadline, so that it reads NO_LEADER and
// not only that its time is over.
const deadlineReserve = 100 * time.Millisecond

// leaderMethods are the calls that only the leader answers. All of them may be
// sent again: what changes something has a request id or is judged by content.
var leaderMethods = map[string]bool{
	holdfastv1.JobService_List_FullMethodName:               true,
	holdfastv1.JobService_Describe_FullMethodName:           true,
	holdfastv1.JobService_ListCheckpoints_FullMethodName:    true,
	holdfastv1.JobService_DescribeCheckpoint_FullMethodName: true,
	holdfastv1.JobService_GetOperation_FullMethodName:       true,
	holdfastv1.StateService_Get_FullMethodName:              true,
	holdfastv1.StateService_Scan_FullMethodName:             true,
}

// toLeader answers the leader's calls here if this node leads and has applied
// all that is committed; else, on the public port, it asks the leader.
func (s *Server) toLeader(public bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !leaderMethods[info.FullMethod] {
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
				return handler(ctx, req)
			}
			if err := s.askOnce(ctx, info.FullMethod, in, out); err == nil || !retryable(err) {
				return out, err
			}
			if err := s.awaitLeader(ctx, attempt); err != nil {
				return nil, err
			}
		}
	}
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
	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	err = conn.Invoke(try, method, in, out)
	if status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil {
		return toStatus(noLeader())
	}
	return err
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
