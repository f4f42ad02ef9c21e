package holdfast

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxRequest is the default message_bytes of a node (docs/protocol.md, 10). Calls
// come before Welcome, which could tell of another.
const maxRequest = 4 << 20

// refuseLarge is a unary interceptor that says of a request what the node would: of
// one above twice the limit the node's transport says it, without a reason.
func refuseLarge(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	m, ok := req.(proto.Message)
	if !ok {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	if size := proto.Size(m); size > maxRequest {
		return tooLarge(fmt.Sprintf("a message %s has %d bytes, at most %d are allowed; let the program read large settings itself", m.ProtoReflect().Descriptor().Name(), size, maxRequest))
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func tooLarge(message string) error {
	st, err := status.New(codes.ResourceExhausted, message).WithDetails(&errdetails.ErrorInfo{
		Reason: "VALUE_TOO_LARGE", Domain: "holdfast", Metadata: map[string]string{"outcome": "final"},
	})
	if err != nil {
		return status.Error(codes.ResourceExhausted, message)
	}
	return st.Err()
}
