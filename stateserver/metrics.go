package stateserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/internal/version"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// metrics are what a node's edge counts and times.
type metrics struct {
	up, down     frameCounters
	late         map[string]prometheus.Counter // by the name of the frame's message
	ended        *prometheus.CounterVec
	getSeconds   prometheus.Histogram
	flushSeconds prometheus.Histogram
	resent       prometheus.Counter
	calls        *prometheus.CounterVec
	all          []prometheus.Collector
}

// frameCounters count frames of one direction, by the number of their field in
// the message's oneof, so that a frame costs no look-up by label.
type frameCounters struct {
	kind   protoreflect.OneofDescriptor
	frames []prometheus.Counter
	bytes  []prometheus.Counter
}

func newFrameCounters(kind protoreflect.OneofDescriptor, frames, bytes *prometheus.CounterVec) frameCounters {
	c := frameCounters{kind: kind}
	fields := kind.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		for len(c.frames) <= int(f.Number()) {
			c.frames, c.bytes = append(c.frames, nil), append(c.bytes, nil)
		}
		c.frames[f.Number()] = frames.WithLabelValues(string(f.Name()))
		c.bytes[f.Number()] = bytes.WithLabelValues(string(f.Name()))
	}
	return c
}

// count takes a message and its size on the wire. One of a kind that this
// version does not know is not counted; it ends its stream.
func (c frameCounters) count(m protoreflect.ProtoMessage, bytes int) {
	f := m.ProtoReflect().WhichOneof(c.kind)
	if f == nil {
		return
	}
	c.frames[f.Number()].Inc()
	c.bytes[f.Number()].Add(float64(bytes))
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func newMetrics() *metrics {
	buckets := prometheus.ExponentialBuckets(0.0001, 2, 17)
	upFrames := counterVec("holdfast_stateserver_received_frames_total", "Frames from operators, by kind.", "kind")
	upBytes := counterVec("holdfast_stateserver_received_bytes_total", "Their bytes before compression.", "kind")
	downFrames := counterVec("holdfast_stateserver_sent_frames_total", "Frames to operators, by kind.", "kind")
	downBytes := counterVec("holdfast_stateserver_sent_bytes_total", "Their bytes before compression.", "kind")
	m := &metrics{
		up:   newFrameCounters((*holdfastv1.OperatorMessage)(nil).ProtoReflect().Descriptor().Oneofs().Get(0), upFrames, upBytes),
		down: newFrameCounters((*holdfastv1.HostMessage)(nil).ProtoReflect().Descriptor().Oneofs().Get(0), downFrames, downBytes),
		late: map[string]prometheus.Counter{},
		ended: counterVec("holdfast_stateserver_streams_ended_total",
			"Operator streams that ended, by reason: CLIENT (it closed its side, or its connection is gone), JOB_ENDED, SHUTDOWN, or the ErrorReason that the client was told.", "reason"),
		getSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "holdfast_stateserver_get_seconds", Buckets: buckets,
			Help: "Time from receiving a Get to handing its last Values to the stream."}),
		flushSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "holdfast_stateserver_flush_seconds", Buckets: buckets,
			Help: "Time from receiving a frame with a seq (Flush, CheckpointReady, Finished) to its answer: that of the log, over changes of the leader too, or with a backend on hosts that of the working state."}),
		resent: prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_stateserver_forwarder_resent_total",
			Help: "Proposals that this node sent again, after a change of the leader or because they overtook another one."}),
		calls: counterVec("holdfast_stateserver_calls_total", "Calls that this node answered on its client port, operator streams too, by method and gRPC code.", "method", "code"),
	}
	late := counterVec("holdfast_stateserver_late_frames_total",
		"Frames with an older fencing token of their own stream, dropped before they reach the log, by kind.", "kind")
	for name, kind := range map[string]string{
		"Flush": "flush", "Get": "get", "BarrierPassed": "barrier_passed", "CheckpointReady": "checkpoint_ready", "Finished": "finished", "Failed": "failed",
	} {
		m.late[name] = late.WithLabelValues(kind)
	}
	m.all = []prometheus.Collector{upFrames, upBytes, downFrames, downBytes, late, m.ended, m.getSeconds, m.flushSeconds, m.resent, m.calls}
	return m
}

// streamEnded counts the end of a stream by its cause.
func (m *metrics) streamEnded(cause error, down bool) {
	m.ended.WithLabelValues(endReason(cause, down)).Inc()
}

func endReason(cause error, down bool) string {
	switch {
	case errors.Is(cause, errJobEnded):
		return "JOB_ENDED"
	case down:
		return "SHUTDOWN"
	case cause == nil, errors.Is(cause, context.Canceled):
		return "CLIENT"
	}
	for _, d := range status.Convert(cause).Details() {
		if info, ok := d.(interface{ GetReason() string }); ok && holdfastv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()] != 0 {
			return info.GetReason()
		}
	}
	return "CLIENT" // what the transport says of a connection that is gone
}

// The metrics that are read off when they are asked for.
var (
	streamsDesc   = prometheus.NewDesc("holdfast_stateserver_streams", "Operator streams on this node: those that hold a subtask, and standbys.", []string{"state"}, nil)
	inFlightDesc  = prometheus.NewDesc("holdfast_stateserver_flushes_in_flight", "Frames with a seq that were not answered yet.", nil, nil)
	inFlightBytes = prometheus.NewDesc("holdfast_stateserver_flushes_in_flight_bytes", "Keys, values and overhead in them.", nil, nil)
	getsOpenDesc  = prometheus.NewDesc("holdfast_stateserver_gets_open", "Gets that wait for their turn.", nil, nil)
	queueDesc     = prometheus.NewDesc("holdfast_stateserver_forwarder_proposals", "Proposals of this node that the leader has not answered yet.", nil, nil)
	readyDesc     = prometheus.NewDesc("holdfast_stateserver_ready", "1 while /readyz says that this node is ready.", nil, nil)
	infoDesc      = prometheus.NewDesc("holdfast_stateserver_node_info", "Always 1; who this node is.", []string{"node", "node_id", "cluster_id", "version"}, nil)
)

// serverCollector reads off a server.
type serverCollector struct{ s *Server }

// Describe implements prometheus.Collector.
func (c serverCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, inFlightDesc, inFlightBytes, getsOpenDesc, queueDesc, readyDesc, infoDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c serverCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	u := c.s.hosts.usage()
	gauge(streamsDesc, float64(u.holding), "holding")
	gauge(streamsDesc, float64(u.standby), "standby")
	gauge(inFlightDesc, float64(u.inFlight))
	gauge(inFlightBytes, float64(u.bytes))
	gauge(getsOpenDesc, float64(u.gets))
	gauge(queueDesc, float64(c.s.fwd.size()))
	ready := 0.0
	if c.s.Ready() == nil {
		ready = 1
	}
	gauge(readyDesc, ready)
	gauge(infoDesc, 1, c.s.store.Name(), c.s.store.ID(), c.s.store.ClusterID(), version.Version)
}

// statsHandler counts what gRPC tells of the client port. It knows the size of
// each message, so nothing is measured twice.
type statsHandler struct {
	m *metrics
	// methods are the names of known methods: a label for each word that
	// somebody may call would have no bound.
	methods map[string]string
}

type methodKey struct{}

func newStatsHandler(m *metrics) statsHandler {
	h := statsHandler{m: m, methods: map[string]string{}}
	for _, s := range []grpc.ServiceDesc{
		holdfastv1.OperatorService_ServiceDesc, holdfastv1.JobService_ServiceDesc, holdfastv1.StateService_ServiceDesc, holdfastv1.ClusterService_ServiceDesc,
	} {
		short := strings.TrimPrefix(s.ServiceName, "holdfast.v1.")
		for _, x := range s.Methods {
			h.methods["/"+s.ServiceName+"/"+x.MethodName] = short + "/" + x.MethodName
		}
		for _, x := range s.Streams {
			h.methods["/"+s.ServiceName+"/"+x.StreamName] = short + "/" + x.StreamName
		}
	}
	return h
}

// TagRPC implements stats.Handler.
func (h statsHandler) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, h.methods[info.FullMethodName])
}

// HandleRPC implements stats.Handler.
func (h statsHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch x := s.(type) {
	case *stats.InPayload:
		if m, ok := x.Payload.(*holdfastv1.OperatorMessage); ok {
			h.m.up.count(m, x.Length)
		}
	case *stats.OutPayload:
		if m, ok := x.Payload.(*holdfastv1.HostMessage); ok {
			h.m.down.count(m, x.Length)
		}
	case *stats.End:
		if method, _ := ctx.Value(methodKey{}).(string); method != "" {
			h.m.calls.WithLabelValues(method, codeOf(x.Error)).Inc()
		}
	}
}

func codeOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return codes.Canceled.String()
	}
	return status.Code(err).String()
}

// TagConn implements stats.Handler.
func (statsHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (statsHandler) HandleConn(context.Context, stats.ConnStats) {}

// lateFrame counts a late frame by the name of its message.
func (m *metrics) lateFrame(frame string) {
	if c := m.late[frame]; c != nil {
		c.Inc()
	}
}

// flushAnswered times a frame with a seq that came at start.
func (m *metrics) flushAnswered(start time.Time) { m.flushSeconds.Observe(time.Since(start).Seconds()) }

// getAnswered times a Get that came at start.
func (m *metrics) getAnswered(start time.Time) { m.getSeconds.Observe(time.Since(start).Seconds()) }
