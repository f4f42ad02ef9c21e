package stateserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of what a client of the public port can take up before it has said
// anything of use.
const (
	// maxConnStreams bounds the streams of one connection; a client waits for its
	// turn with more. No client of this project has more than one.
	maxConnStreams = 1024
	// maxHeaderBytes bounds the headers of a call.
	maxHeaderBytes = 64 << 10
	// connectTimeout bounds the handshake of a connection.
	connectTimeout = 10 * time.Second
	// pingAfter and pingTimeout find connections whose other end is gone.
	pingAfter, pingTimeout = 30 * time.Second, 10 * time.Second
	// leastPing is how often a client may ping.
	leastPing = 5 * time.Second
	// maxRecvBytes is where the transport itself refuses a message. It is above
	// the limit of Welcome, so that most clients that pass that are told so with a
	// reason, which the transport cannot give: the library writes the status itself,
	// before a codec, an interceptor or a handler sees anything of the message.
	maxRecvBytes = 2 * maxMessageBytes
)

// guard keeps bad input at the public port from costing anything else.
func (s *Server) guard() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRecvBytes), grpc.MaxConcurrentStreams(maxConnStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes), grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(tolerantCodec{encoding.GetCodecV2(grpcproto.Name)}),
		grpc.ChainUnaryInterceptor(refuseUnreadable), grpc.ChainStreamInterceptor(s.countStreams, readable),
		grpc.UnknownServiceHandler(unknownMethod),
	}
}

// countStreams refuses streams above the bound of this node. Those of health
// checks do not count.
func (s *Server) countStreams(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, "/grpc.health.") {
		return handler(srv, stream)
	}
	defer s.streams.Add(-1)
	if n := s.streams.Add(1); n > int64(s.cfg.MaxStreams) {
		return toStatus(overloaded(fmt.Sprintf("this node has %d streams open, as many as max-streams allows; go to another node, or raise max-streams", s.cfg.MaxStreams)))
	}
	return handler(srv, stream)
}

// unknownMethod answers calls of another version of the protocol, or of another
// protocol.
func unknownMethod(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	name = cut(name, maxShownBytes)
	return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_METHOD_NOT_FOUND,
		fmt.Sprintf("unknown method %s: this node (holdfastd %s) does not have it; use a client of the same version or an older one", name, version.Version),
		"method", name))
}

// tolerantCodec lets a message that cannot be read through as an empty one with
// a mark, so that its sender is told with a reason; an error of a codec ends the
// call with a status of the transport, which clients take for a broken stream
// and try again.
type tolerantCodec struct{ encoding.CodecV2 }

// markField carries the mark among a message's unknown fields. A client that
// sets it is only refused.
const markField = protowire.MaxValidNumber

const (
	markGarbage  = 1
	markTooLarge = 2
)

// Unmarshal implements encoding.CodecV2.
func (c tolerantCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	size := data.Len()
	if size > maxMessageBytes {
		return mark(m, markTooLarge, size)
	}
	if c.CodecV2.Unmarshal(data, v) != nil {
		return mark(m, markGarbage, size)
	}
	return nil
}

func mark(m proto.Message, kind, size int) error {
	proto.Reset(m)
	b := protowire.AppendTag(nil, markField, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(size)<<2|uint64(kind))
	m.ProtoReflect().SetUnknown(b)
	return nil
}

// unreadable is why a message could not be read; nil if it could.
func unreadable(msg any) *holdfastv1.Error {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil
	}
	field, typ, n := protowire.ConsumeTag(m.ProtoReflect().GetUnknown())
	if n < 0 || field != markField || typ != protowire.VarintType {
		return nil
	}
	what, _ := protowire.ConsumeVarint(m.ProtoReflect().GetUnknown()[n:])
	name := m.ProtoReflect().Descriptor().Name()
	if what&3 == markTooLarge {
		return tooLarge(fmt.Sprintf("a message %s has %d bytes, at most %d are allowed; send several", name, what>>2, maxMessageBytes))
	}
	return violation("3.7", fmt.Sprintf("%d bytes are no message %s; the client was generated from another proto file, or something is between it and this node", what>>2, name))
}

func refuseUnreadable(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if e := unreadable(req); e != nil {
		if e.Reason == holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION {
			e = invalid("request", e.Message)
		}
		return nil, toStatus(e)
	}
	return handler(ctx, req)
}

func readable(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, readableStream{stream})
}

// readableStream gives a message that cannot be read as an error.
type readableStream struct{ grpc.ServerStream }

// RecvMsg implements grpc.ServerStream.
func (s readableStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if e := unreadable(m); e != nil {
		return toStatus(e)
	}
	return nil
}
