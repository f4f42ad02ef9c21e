package coordinator

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// addSink puts an operator behind the counter.
func addSink(s *holdfastv1.JobSpec, k *holdfastv1.SinkSpec) {
	s.Operators = append(s.Operators, &holdfastv1.Operator{Uid: "sink", Parallelism: s.Operators[1].Parallelism, Sink: k,
		Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "counter", Partitioning: holdfastv1.Partitioning_PARTITIONING_FORWARD}}})
}

func TestNormalizeSpec_Refusals(t *testing.T) {
	cases := map[string]struct {
		change func(*holdfastv1.JobSpec)
		want   string
	}{
		"name with a slash":  {func(s *holdfastv1.JobSpec) { s.Name = "a/b" }, `the job name "a/b" is not ` + nameRule},
		"empty name":         {func(s *holdfastv1.JobSpec) { s.Name = "" }, `the job name "" is not ` + nameRule},
		"name of 200":        {func(s *holdfastv1.JobSpec) { s.Name = strings.Repeat("n", 200) }, `the job name "` + strings.Repeat("n", 128) + `"... is not ` + nameRule},
		"control characters": {func(s *holdfastv1.JobSpec) { s.Name = "a\x1b[31mb\n" }, `the job name "a\x1b[31mb\n" is not ` + nameRule},
		"no UTF-8":           {func(s *holdfastv1.JobSpec) { s.Name = "a\xff" }, `the job name "a\xff" is not ` + nameRule},
		"no operators":       {func(s *holdfastv1.JobSpec) { s.Operators = nil }, "a job has 1 to 256 operators, this one 0"},
		"10,000 operators":   {func(s *holdfastv1.JobSpec) { s.Operators = slices.Repeat(s.Operators[:1], 10_000) }, "a job has 1 to 256 operators, this one 10000"},
		"one uid twice":      {func(s *holdfastv1.JobSpec) { s.Operators[1].Uid = "source" }, `two operators have the uid "source"; give each its own`},
		"uid with a slash":   {func(s *holdfastv1.JobSpec) { s.Operators[0].Uid = "a/b" }, `the operator uid "a/b" is not ` + nameRule},
		"parallelism 0":      {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism = 0 }, `operator "source": parallelism 0 is not from 1 to 32768`},
		"parallelism 100000": {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism = 100000 }, `operator "source": parallelism 100000 is not from 1 to 32768`},
		"max below":          {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism, s.Operators[0].MaxParallelism = 4, 2 }, `operator "source": max parallelism 2 is not from the parallelism 4 to 32768`},
		"max above":          {func(s *holdfastv1.JobSpec) { s.Operators[0].MaxParallelism = 100000 }, `operator "source": max parallelism 100000 is not from the parallelism 1 to 32768`},
		"source with inputs": {func(s *holdfastv1.JobSpec) { s.Operators[1].Source = &holdfastv1.SourceSpec{} }, `operator "counter" must have either a source or inputs, not both and not neither`},
		"neither source":     {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs = nil }, `operator "counter" must have either a source or inputs, not both and not neither`},
		"input unknown":      {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs[0].OperatorUid = "x" }, `operator "counter" reads from "x", and no operator has this uid`},
		"cycle of one":       {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs[0].OperatorUid = "counter" }, `operator "counter" reads from itself; a graph has no cycle`},
		"cycle of two": {func(s *holdfastv1.JobSpec) {
			back := proto.CloneOf(s.Operators[1])
			back.Uid, back.Inputs[0].OperatorUid = "back", "counter"
			s.Operators[1].Inputs[0].OperatorUid = "back"
			s.Operators = append(s.Operators, back)
		}, `operator "counter" reads from "back", which is not before it: list operators behind their inputs; a graph has no cycle`},
		"keyBy at 2": {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism, s.Operators[1].Parallelism = 2, 2 },
			`operator "counter" needs records to move between subtasks, which this version does not do: keyBy at a parallelism above 1; use parallelism 1, or declare that the source is partitioned by the key already (co-partitioned)`},
		"no partitioning": {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs[0].Partitioning, s.Operators[1].States = 0, nil },
			`operator "counter": its input from "source" has no known partitioning; known are FORWARD, HASH and CO_PARTITIONED`},
		"sink of exactly once": {func(s *holdfastv1.JobSpec) {
			addSink(s, &holdfastv1.SinkSpec{Connector: "kafka", DeliveryGuarantee: holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_EXACTLY_ONCE})
		}, `sink "sink": this version has no EXACTLY_ONCE output; AT_LEAST_ONCE is for readers that can tell a record that comes again`},
		"sink of 77": {func(s *holdfastv1.JobSpec) {
			addSink(s, &holdfastv1.SinkSpec{Connector: "kafka", DeliveryGuarantee: 77})
		},
			`sink "sink": unknown delivery guarantee 77; known are NONE and AT_LEAST_ONCE`},
		"sink without checkpoints": {func(s *holdfastv1.JobSpec) {
			s.Checkpoint = nil
			addSink(s, &holdfastv1.SinkSpec{Connector: "kafka", DeliveryGuarantee: holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_AT_LEAST_ONCE})
		}, `sink "sink" has the guarantee AT_LEAST_ONCE, which checkpoints give, and the job has none; enable them (EnableCheckpointing, execution.checkpointing.interval), or take NONE`},
		"sink of nothing": {func(s *holdfastv1.JobSpec) { addSink(s, &holdfastv1.SinkSpec{}) }, `sink "sink": the connector "" is not ` + nameRule},
		"sink of 1000 topics": {func(s *holdfastv1.JobSpec) {
			addSink(s, &holdfastv1.SinkSpec{Connector: "kafka", Topics: make([]string, 1000)})
		}, `sink "sink" has 1000 topics, at most 256 are allowed`},
		"source and sink": {func(s *holdfastv1.JobSpec) { s.Operators[0].Sink = &holdfastv1.SinkSpec{Connector: "kafka"} }, `operator "source" is a source and a sink; make two operators`},
		"behind a sink": {func(s *holdfastv1.JobSpec) {
			addSink(s, &holdfastv1.SinkSpec{Connector: "kafka"})
			addSink(s, nil)
			s.Operators[3].Uid, s.Operators[3].Inputs[0].OperatorUid = "more", "sink"
		}, `operator "more" reads from the sink "sink", and nothing comes out of a sink`},
		"state without key": {func(s *holdfastv1.JobSpec) {
			s.Operators[1].Inputs[0].Partitioning = holdfastv1.Partitioning_PARTITIONING_FORWARD
		}, `operator "counter" has keyed state but no keyed input; put a KeyBy before it`},
		"state twice": {func(s *holdfastv1.JobSpec) {
			s.Operators[1].States = append(s.Operators[1].States, s.Operators[1].States[0])
		}, `operator "counter" declares the state "count" twice; give each its own name`},
		"state name":   {func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Name = "" }, `operator "counter": the state name "" is not ` + nameRule},
		"state type":   {func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Type = "int" }, `state "count" of operator "counter": unknown type "int"; known are bytes, string, int64, float64, bool, json, proto:<full name>`},
		"state kind":   {func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Kind = 0 }, `state "count" of operator "counter": unknown kind 0; known are VALUE, LIST, MAP, REDUCING, AGGREGATING`},
		"backend name": {func(s *holdfastv1.JobSpec) { s.StateBackend = &holdfastv1.StateBackend{Name: "a b"} }, `the state backend name "a b" is not 1 to 128 of the characters A-Z a-z 0-9 . _ -, the first one a letter`},
		"many options": {func(s *holdfastv1.JobSpec) {
			s.StateBackend = &holdfastv1.StateBackend{Name: "own", Options: map[string]string{"o": strings.Repeat("v", 5000)}}
		}, `1 options of 5001 bytes for the state backend "own", at most 64 of 4096 bytes are allowed`},
		"directory without scheme": {func(s *holdfastv1.JobSpec) { s.Checkpoint.Directory = "/mnt/x" },
			`the directory "/mnt/x" has no scheme; a mount that every node has at the same path is written file:///mnt/x`},
		"savepoint directory": {func(s *holdfastv1.JobSpec) { s.Checkpoint.SavepointDirectory = "file:///a/../b" },
			`the directory "file:///a/../b" has the element ".."; write the directory that is meant`},
		"filesystem nowhere": {func(s *holdfastv1.JobSpec) {
			s.Checkpoint.Storage = holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM
		},
			"the checkpoint storage FILESYSTEM needs a directory; set execution.checkpointing.dir"},
		"retention nowhere": {func(s *holdfastv1.JobSpec) { s.Checkpoint.Retention = retain },
			"RETAIN_ON_CANCELLATION needs a directory in which the checkpoints stay; set execution.checkpointing.dir"},
		"unknown storage":   {func(s *holdfastv1.JobSpec) { s.Checkpoint.Storage = 9 }, "unknown checkpoint storage 9; known are JOBMANAGER and FILESYSTEM"},
		"unknown retention": {func(s *holdfastv1.JobSpec) { s.Checkpoint.Retention = 9 }, "unknown retention 9; known are NO_EXTERNALIZED_CHECKPOINTS, DELETE_ON_CANCELLATION and RETAIN_ON_CANCELLATION"},
		"inline 6 MiB":      {func(s *holdfastv1.JobSpec) { s.Checkpoint.InlineThreshold = 6 << 20 }, "an inline threshold of 6291456 bytes is above the largest, 5242880"},
		"memory above":      {func(s *holdfastv1.JobSpec) { s.StateBackend = &holdfastv1.StateBackend{MemoryMaxSize: 1 << 40} }, "state.memory.max-size of 1099511627776 bytes is above the largest, 68719476736"},
		"interval 1 ms":     {func(s *holdfastv1.JobSpec) { s.Checkpoint.IntervalMs = 1 }, "the checkpoint interval of 1 ms is below the least one, 10 ms; 0 disables checkpoints"},
		"unknown mode":      {func(s *holdfastv1.JobSpec) { s.Checkpoint.Mode = 9 }, "unknown checkpoint mode 9; known are EXACTLY_ONCE and AT_LEAST_ONCE"},
		"101 retained":      {func(s *holdfastv1.JobSpec) { s.Checkpoint.NumRetained = 101 }, "101 checkpoints cannot be retained, at most 100 are"},
		"too many subtasks": {func(s *holdfastv1.JobSpec) {
			s.Operators = nil
			for _, uid := range []string{"a", "b"} {
				s.Operators = append(s.Operators, &holdfastv1.Operator{Uid: uid, Parallelism: 32768, Source: &holdfastv1.SourceSpec{}})
			}
		}, "the job has 65536 subtasks, at most 32768 are allowed"},
		"too many states": {func(s *holdfastv1.JobSpec) {
			for i := range 256 {
				d := proto.CloneOf(s.Operators[1].States[0])
				d.Name = fmt.Sprint(i)
				s.Operators[1].States = append(s.Operators[1].States, d)
			}
		}, "the job has 257 named states in up to 128 key groups; at most 256 states and 1048576 tables are allowed"},
		"multiplier is no number": {func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = exponential(&holdfastv1.ExponentialDelay{BackoffMultiplier: math.NaN()})
		}, "exponential-delay needs a multiplier from 1 to 1000, a jitter factor from 0 to 1, and a maximal backoff not below the initial one"},
		"backoff upside down": {func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = exponential(&holdfastv1.ExponentialDelay{MaxBackoffMs: 1, InitialBackoffMs: 2})
		}, "exponential-delay needs a multiplier from 1 to 1000, a jitter factor from 0 to 1, and a maximal backoff not below the initial one"},
		"failure rate": {func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = failureRate(&holdfastv1.FailureRate{MaxFailuresPerInterval: 1001})
		}, "failure-rate counts at most 1000 failures an interval"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := counterSpec("count")
			c.change(s)
			_, e := NormalizeSpec(s)
			if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC || e.GetOutcome() != holdfastv1.Outcome_OUTCOME_FINAL ||
				e.GetMessage() != c.want || e.GetMetadata()["field"] == "" {
				t.Fatalf("got  %v\nwant %s", e, c.want)
			}
		})
	}
}

func TestNormalizeSpec_Defaults(t *testing.T) {
	s, e := NormalizeSpec(counterSpec("count"))
	if e != nil {
		t.Fatal(e)
	}
	x := s.RestartStrategy.GetExponentialDelay()
	if s.Checkpoint.TimeoutMs != 600_000 || s.Checkpoint.NumRetained != 1 || s.Checkpoint.Mode != holdfastv1.CheckpointMode_CHECKPOINT_MODE_EXACTLY_ONCE ||
		s.StateBackend.Name != "memory" || s.StateBackend.MemoryMaxSize != 5<<20 || s.Operators[1].MaxParallelism != 128 ||
		x.GetInitialBackoffMs() != 1000 || x.GetMaxBackoffMs() != 60_000 || x.GetBackoffMultiplier() != 1.5 || x.GetJitterFactor() != 0.1 {
		t.Fatalf("defaults: %v", s)
	}
	again, e := NormalizeSpec(s)
	if e != nil || again.String() != s.String() {
		t.Fatalf("normalizing twice changes the specification: %v", e)
	}
	off, _ := NormalizeSpec(withoutCheckpoints(counterSpec("count")))
	if f := off.RestartStrategy.GetFixedDelay(); f.GetAttempts() != unboundedAttempts || f.GetDelayMs() != 1000 {
		t.Fatalf("without checkpoints: %v", off.RestartStrategy)
	}
}

// What discovery answers is checked like a specification: it makes tables.
func TestRecordSplits_Refusals(t *testing.T) {
	wide := coPartitioned(counterSpec("count"), 1)
	for i := range 100 {
		wide.Operators[1].States = append(wide.Operators[1].States, &holdfastv1.StateDescriptor{
			Name: fmt.Sprint("s", i), Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"})
	}
	cases := map[string]struct {
		spec  *holdfastv1.JobSpec
		split *holdfastv1.Split
		want  string
	}{
		"too many tables": {wide, &holdfastv1.Split{Topic: "in", Partition: 32767, StartOffset: proto.Int64(0)}, "32768 partitions times 101 states"},
		"sentinel offset": {counterSpec("count"), &holdfastv1.Split{Topic: "in", StartOffset: proto.Int64(-1001)}, "has the start offset -1001"},
		"no offset":       {counterSpec("count"), &holdfastv1.Split{Topic: "in"}, "has no start offset"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.must(submit(c.spec, "", "job"))
			r := l.do(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
				JobId: "job", OperatorUid: "source", Splits: []*holdfastv1.Split{c.split}}}})
			if !strings.Contains(r.GetError().GetMessage(), c.want) {
				t.Fatalf("got %v, want %q", r.GetError(), c.want)
			}
			l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
		})
	}
}
