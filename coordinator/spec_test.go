package coordinator

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestNormalizeSpec_Refusals(t *testing.T) {
	cases := map[string]struct {
		change func(*holdfastv1.JobSpec)
		want   string
	}{
		"name with a slash":  {func(s *holdfastv1.JobSpec) { s.Name = "a/b" }, `the job name "a/b" is not`},
		"no operators":       {func(s *holdfastv1.JobSpec) { s.Operators = nil }, "a job has 1 to 256 operators, this one 0"},
		"one uid twice":      {func(s *holdfastv1.JobSpec) { s.Operators[1].Uid = "source" }, `two operators have the uid "source"`},
		"parallelism 0":      {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism = 0 }, `operator "source": parallelism 0 is not from 1 to 32768`},
		"parallelism 100000": {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism = 100000 }, "parallelism 100000 is not from 1 to 32768"},
		"max below":          {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism, s.Operators[0].MaxParallelism = 4, 2 }, "max parallelism 2"},
		"source with inputs": {func(s *holdfastv1.JobSpec) { s.Operators[1].Source = &holdfastv1.SourceSpec{} }, "either a source or have inputs"},
		"input unknown":      {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs[0].OperatorUid = "x" }, `reads from "x", which is not before it`},
		"keyBy at 2":         {func(s *holdfastv1.JobSpec) { s.Operators[0].Parallelism, s.Operators[1].Parallelism = 2, 2 }, "needs records to move between subtasks"},
		"no partitioning":    {func(s *holdfastv1.JobSpec) { s.Operators[1].Inputs[0].Partitioning, s.Operators[1].States = 0, nil }, "no known partitioning"},
		"state without key": {func(s *holdfastv1.JobSpec) {
			s.Operators[1].Inputs[0].Partitioning = holdfastv1.Partitioning_PARTITIONING_FORWARD
		}, "no keyed input"},
		"state twice": {func(s *holdfastv1.JobSpec) {
			s.Operators[1].States = append(s.Operators[1].States, s.Operators[1].States[0])
		}, `declares the state "count" twice`},
		"state type":      {func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Type = "int" }, `unknown type "int"`},
		"state kind":      {func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Kind = 0 }, "the kind VALUE only"},
		"unknown backend": {func(s *holdfastv1.JobSpec) { s.StateBackend = &holdfastv1.StateBackend{Name: "rocks"} }, `unknown state backend "rocks"`},
		"interval 1 ms":   {func(s *holdfastv1.JobSpec) { s.Checkpoint.IntervalMs = 1 }, "interval of 1 ms is below"},
		"unknown mode":    {func(s *holdfastv1.JobSpec) { s.Checkpoint.Mode = 9 }, "unknown checkpoint mode 9"},
		"too many subtasks": {func(s *holdfastv1.JobSpec) {
			s.Operators = nil
			for _, uid := range []string{"a", "b"} {
				s.Operators = append(s.Operators, &holdfastv1.Operator{Uid: uid, Parallelism: 32768, Source: &holdfastv1.SourceSpec{}})
			}
		}, "the job has 65536 subtasks, at most 32768 are allowed"},
		"multiplier is no number": {func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = exponential(&holdfastv1.ExponentialDelay{BackoffMultiplier: math.NaN()})
		}, "a multiplier from 1 to 1000"},
		"backoff upside down": {func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = exponential(&holdfastv1.ExponentialDelay{MaxBackoffMs: 1, InitialBackoffMs: 2})
		}, "maximal backoff not below"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := counterSpec("count")
			c.change(s)
			_, e := NormalizeSpec(s)
			if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC || !strings.Contains(e.GetMessage(), c.want) {
				t.Fatalf("got %v, want a message with %q", e, c.want)
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
