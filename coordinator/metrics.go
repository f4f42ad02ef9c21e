package coordinator

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Reasons of commands that changed nothing and are answered without an error.
const (
	// reasonDuplicate: a frame whose seq was taken before.
	reasonDuplicate = "DUPLICATE"
	// reasonDecided: an ack of a checkpoint that is not pending (any more).
	reasonDecided = "CHECKPOINT_DECIDED"
	// reasonSecondAck: a second ack of one subtask to one checkpoint.
	reasonSecondAck = "SECOND_ACK"
)

// Metrics count what the machine of a node applies. They are written and never
// read by it, so that the machine stays deterministic. Every node applies the
// whole log, entries that it replays at its start too.
type Metrics struct {
	applied  []prometheus.Counter // by field number of Command.command
	names    []string             // the same
	refused  *prometheus.CounterVec
	failures *prometheus.CounterVec
	duration prometheus.Histogram
	all      []prometheus.Collector
}

// commandField is the oneof of internalv1.Command.
var commandField = (*internalv1.Command)(nil).ProtoReflect().Descriptor().Oneofs().ByName("command")

// NewMetrics makes counters at zero.
func NewMetrics() *Metrics {
	applied := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "holdfast_coordinator_commands_applied_total",
		Help: "Commands of the log that this node applied since it started, refused ones too. Every node applies every command.",
	}, []string{"command"})
	m := &Metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_coordinator_commands_refused_total",
			Help: "Commands of the log that changed nothing when this node applied them, by the reason: an ErrorReason (FENCED is a late or foreign token, SEQ_GAP a frame that overtook another), or DUPLICATE (a frame whose seq was taken before), CHECKPOINT_DECIDED and SECOND_ACK (acks that came too late or twice). Every node counts every command.",
		}, []string{"command", "reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_coordinator_exceptions_total",
			Help: "Failures of attempts that this node applied since it started, by their ErrorReason. Every node counts every failure.",
		}, []string{"reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "holdfast_coordinator_checkpoint_duration_seconds",
			Help:    "Time from the trigger of a checkpoint to its last ack, of those whose completion this node applied since it started.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
		}),
	}
	m.all = []prometheus.Collector{applied, m.refused, m.failures, m.duration}
	fields := commandField.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		for len(m.applied) <= int(f.Number()) {
			m.applied, m.names = append(m.applied, nil), append(m.names, "")
		}
		m.applied[f.Number()], m.names[f.Number()] = applied.WithLabelValues(string(f.Name())), string(f.Name())
	}
	// What a dashboard of fencing looks for is there before it happens.
	for _, command := range []string{"flush", "ready"} {
		for _, reason := range []string{"FENCED", "SEQ_GAP", reasonDuplicate} {
			m.refused.WithLabelValues(command, reason)
		}
	}
	m.refused.WithLabelValues("ready", reasonDecided)
	m.refused.WithLabelValues("ready", reasonSecondAck)
	return m
}

// Collectors are what a registry takes.
func (m *Metrics) Collectors() []prometheus.Collector { return m.all }

// countApplied counts a command and the error of its result, if there is one.
func (m *Metrics) countApplied(cmd *internalv1.Command, r *internalv1.CommandResult) {
	n := fieldNumber(cmd)
	if m.applied[n] == nil {
		return // of another build's tests
	}
	m.applied[n].Inc()
	if e := r.GetError(); e != nil {
		m.refused.WithLabelValues(m.names[n], ReasonName(e.Reason)).Inc()
	}
}

func fieldNumber(cmd *internalv1.Command) protoreflect.FieldNumber {
	if cmd.GetFlush() != nil {
		return 1 // nearly all commands
	}
	if f := cmd.ProtoReflect().WhichOneof(commandField); f != nil {
		return f.Number()
	}
	return 0
}

// CommandName is how logs and metrics name a command: begin_checkpoint.
func CommandName(cmd *internalv1.Command) string {
	if f := cmd.ProtoReflect().WhichOneof(commandField); f != nil {
		return string(f.Name())
	}
	return "unknown"
}

func (m *Metrics) countUnchanged(command, reason string) {
	m.refused.WithLabelValues(command, reason).Inc()
}

// ReasonName is how logs and metrics name a reason: FENCED.
func ReasonName(r holdfastv1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), "ERROR_REASON_")
}

// SetMetrics makes the machine count into metrics that a registry shows.
func (m *Machine) SetMetrics(x *Metrics) { m.metrics = x }

// The metrics that are read from the state when they are asked for: the same on
// every node that has applied the same.
var (
	jobsDesc = prometheus.NewDesc("holdfast_coordinator_jobs",
		"Jobs by status.", []string{"status"}, nil)
	subtasksDesc = prometheus.NewDesc("holdfast_coordinator_subtasks",
		"Subtasks of jobs that have not ended, by status.", []string{"status"}, nil)
	triggeredDesc = prometheus.NewDesc("holdfast_coordinator_checkpoints_triggered_total",
		"Checkpoints of a job that began.", []string{"job"}, nil)
	completedDesc = prometheus.NewDesc("holdfast_coordinator_checkpoints_completed_total",
		"Checkpoints of a job that completed.", []string{"job"}, nil)
	abortedDesc = prometheus.NewDesc("holdfast_coordinator_checkpoints_aborted_total",
		"Checkpoints of a job that were aborted.", []string{"job"}, nil)
	failedInARowDesc = prometheus.NewDesc("holdfast_coordinator_checkpoints_failed_in_a_row",
		"Checkpoints of a job that failed since the newest completed one.", []string{"job"}, nil)
	newestDesc = prometheus.NewDesc("holdfast_coordinator_newest_checkpoint_timestamp_seconds",
		"When the newest completed checkpoint of a job was complete, in seconds since 1970 by the clock of its leader: alert on its age.", []string{"job"}, nil)
	newestBytesDesc = prometheus.NewDesc("holdfast_coordinator_newest_checkpoint_bytes",
		"Keys and values in the newest completed checkpoint of a job.", []string{"job"}, nil)
	restartsDesc = prometheus.NewDesc("holdfast_coordinator_restarts_total",
		"Assignments of subtasks of a job after their first one.", []string{"job"}, nil)
	versionDesc = prometheus.NewDesc("holdfast_coordinator_cluster_version",
		"The committed cluster version: which commands the log may hold.", nil, nil)
	recordsDesc = prometheus.NewDesc("holdfast_coordinator_records",
		"Records of the coordinator's state, ended jobs and kept results of requests too, by kind. They are bounded.", []string{"kind"}, nil)
	recordBytesDesc = prometheus.NewDesc("holdfast_coordinator_records_bytes",
		"Size of the coordinator's records in a snapshot.", nil, nil)
)

// DescribeState sends the descriptions of what StateMetrics returns.
func DescribeState(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		jobsDesc, subtasksDesc, triggeredDesc, completedDesc, abortedDesc, failedInARowDesc, newestDesc, newestBytesDesc,
		restartsDesc, recordsDesc, recordBytesDesc, versionDesc,
	} {
		ch <- d
	}
}

// StateMetrics reads metrics from the state. Series with a job's name are there
// while it has not ended.
func (m *Machine) StateMetrics() []prometheus.Metric {
	var out []prometheus.Metric
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	jobs, subtasks := map[holdfastv1.JobStatus]int{}, map[holdfastv1.SubtaskStatus]int{}
	for _, j := range m.jobs {
		jobs[j.Status]++
		if ended(j.Status) {
			continue
		}
		forSubtasks(j, func(_ vertexState, st subtaskState) { subtasks[st.Status]++ })
		out = append(out, jobMetrics(j)...)
	}
	for _, s := range values(holdfastv1.JobStatus(0).Descriptor()) {
		gauge(jobsDesc, float64(jobs[holdfastv1.JobStatus(s.number)]), strings.TrimPrefix(s.name, "JOB_STATUS_"))
	}
	for _, s := range values(holdfastv1.SubtaskStatus(0).Descriptor()) {
		gauge(subtasksDesc, float64(subtasks[holdfastv1.SubtaskStatus(s.number)]), strings.TrimPrefix(s.name, "SUBTASK_STATUS_"))
	}
	gauge(recordsDesc, float64(len(m.jobs)), "job")
	gauge(recordsDesc, float64(len(m.nodes)), "node")
	gauge(recordsDesc, float64(len(m.requests)), "request")
	gauge(recordBytesDesc, float64(m.recordBytes()))
	gauge(versionDesc, float64(m.ClusterVersion()))
	return out
}

func jobMetrics(j jobState) []prometheus.Metric {
	counter := func(d *prometheus.Desc, v uint64) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), j.Spec.Name)
	}
	gauge := func(d *prometheus.Desc, v float64) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, j.Spec.Name)
	}
	out := []prometheus.Metric{
		counter(restartsDesc, uint64(j.Restart.Restarts)),
		counter(triggeredDesc, j.Counts.Triggered), counter(completedDesc, j.Counts.Completed), counter(abortedDesc, j.Counts.Aborted),
		gauge(failedInARowDesc, float64(j.FailedInARow)),
	}
	if c := completedCheckpoint(j); c != nil {
		bytes := uint64(0)
		for _, a := range c.Acks {
			bytes += a.StateBytes
		}
		out = append(out, gauge(newestDesc, float64(c.EndedMs)/1000), gauge(newestBytesDesc, float64(bytes)))
	}
	return out
}

type enumValue struct {
	number protoreflect.EnumNumber
	name   string
}

// values are the members of an enumeration but the unspecified one.
func values(d protoreflect.EnumDescriptor) []enumValue {
	var out []enumValue
	for i := range d.Values().Len() {
		if v := d.Values().Get(i); v.Number() != 0 {
			out = append(out, enumValue{v.Number(), string(v.Name())})
		}
	}
	return out
}

func (m *Machine) recordBytes() int {
	n := 0
	for _, j := range m.jobs {
		n += proto.Size(j)
	}
	for _, x := range m.nodes {
		n += proto.Size(x)
	}
	for _, r := range m.requests {
		n += proto.Size(r)
	}
	return n
}

// StateRef names a state of a job that has not ended, with the subtasks that
// hold it.
type StateRef struct {
	Job, Operator, State string
	StateID              uint32
	// Limit bounds the state within each subtask, in bytes.
	Limit    uint64
	Subtasks []uint64
}

// States lists the named states of jobs that have not ended.
func (m *Machine) States() []StateRef {
	var out []StateRef
	for _, j := range m.jobs {
		if ended(j.Status) {
			continue
		}
		for _, v := range j.Vertices {
			for _, s := range v.StateIds {
				ref := StateRef{Job: j.Spec.Name, Operator: s.OperatorUid, State: s.StateName, StateID: s.Id, Limit: j.Spec.StateBackend.GetMemoryMaxSize()}
				for _, st := range v.Subtasks {
					ref.Subtasks = append(ref.Subtasks, st.Id)
				}
				out = append(out, ref)
			}
		}
	}
	return out
}
