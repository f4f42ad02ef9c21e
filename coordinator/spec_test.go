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

func TestRestart_FixedDelay(t *testing.T) {
	l := newLog(t)
	spec := counterSpec("count")
	spec.RestartStrategy = fixed(&holdfastv1.FixedDelay{Attempts: 2, DelayMs: 500})
	s, tok := l.running(spec)
	for i := range 2 {
		l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, int64(i*10_000)))
		l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
		v, _ := l.m.Subtask(s)
		tok = l.must(assign("job", target(s, v.Token, "b"))).FencingToken
	}
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 30_000))
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

func TestRestart_None(t *testing.T) {
	l := newLog(t)
	spec := counterSpec("count")
	spec.RestartStrategy = &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_None{None: &holdfastv1.NoRestart{}}}
	s, tok := l.running(spec)
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1))
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

// Flink's exponential-delay: 1 s, times 1.5, at most 1 min, back to 1 s after an
// hour without a failure.
func TestRestart_ExponentialDelay(t *testing.T) {
	l := newLog(t)
	l.running(counterSpec("count"))
	j := l.m.byID["job"]
	now := int64(1_000)
	var got []uint64
	for range 12 {
		d, ok := nextRestart(j, now, 0)
		if !ok {
			t.Fatal("the strategy has no bound")
		}
		got = append(got, d)
		now += int64(d)
		j.Restart.NotBeforeMs = now
	}
	want := []uint64{1000, 1500, 2250, 3375, 5062, 7593, 11389, 17083, 25624, 38436, 57654, 60000}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("delays %v, want %v", got, want)
		}
	}
	if d, _ := nextRestart(j, now+3_600_000, 0); d != 1000 {
		t.Fatalf("after an hour the delay is %d, want 1000", d)
	}
	if d, _ := nextRestart(j, now+3_600_001, -1); d != 1350 {
		t.Fatalf("with jitter -1 the delay is %d, want 1350", d)
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

// Flink's failure-rate: the failure that is one too many in an interval fails
// the job; failures that are further apart never do.
func TestRestart_FailureRate(t *testing.T) {
	spec := counterSpec("count")
	spec.RestartStrategy = failureRate(&holdfastv1.FailureRate{MaxFailuresPerInterval: 2, FailureRateIntervalMs: 10_000})
	l := newLog(t)
	l.running(spec)
	j := l.m.byID["job"]
	for i, at := range []int64{0, 6_000, 12_001, 18_002, 24_003} {
		if d, ok := nextRestart(j, at, 0); !ok || d != 1000 {
			t.Fatalf("failure %d at %d: %d %v", i, at, d, ok)
		}
	}
	if _, ok := nextRestart(j, 25_000, 0); ok {
		t.Fatal("three failures in 10 s were tolerated, two are allowed")
	}
}

// Flink's tolerable-failed-checkpoints: more failures in a row restart the job,
// a completed checkpoint begins the count anew.
func TestAbort_MoreThanTolerableRestartTheJob(t *testing.T) {
	spec := counterSpec("count")
	spec.Checkpoint.TolerableFailedCheckpoints = 1
	l := newLog(t)
	s, tok := l.running(spec)
	l.must(abort("job", l.must(begin("job")).CheckpointId))
	l.must(ready(s, tok, 1, l.must(begin("job")).CheckpointId, 5))
	l.must(abort("job", l.must(begin("job")).CheckpointId))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.must(abort("job", l.must(begin("job")).CheckpointId))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.refused(flush(s, tok, 2, "a"), fencedReason)
	x := l.m.Describe("job").Exceptions
	if e := x[len(x)-1].Error; e.Reason != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED {
		t.Fatalf("exception: %v", e)
	}
	v, _ := l.m.Subtask(s)
	l.must(assign("job", target(s, v.Token, "b")))
	if a := l.m.AssignFrame(s); a.RestoredCheckpointId != 2 {
		t.Fatalf("assign: %v", a)
	}
}
