package coordinator

import (
	"slices"
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The strategies behave as RestartBackoffTimeStrategy of Flink 1.20 and 2.x
// (package runtime.executiongraph.failover).

// failureStep is a failure at a time, and what the strategy answers.
type failureStep struct {
	atMs   int64
	jitter float64
	// backingOff: another subtask waits for its restart meanwhile.
	backingOff bool
	delayMs    uint64
	exhausted  bool
}

func steps(delays ...uint64) (out []failureStep) {
	now := int64(1_000)
	for _, d := range delays {
		out = append(out, failureStep{atMs: now, delayMs: d})
		now += int64(d) + 1
	}
	return out
}

func noRestart() *holdfastv1.RestartStrategy {
	return &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_None{None: &holdfastv1.NoRestart{}}}
}

func TestRestart_StrategiesAsInFlink(t *testing.T) {
	const hour = 3_600_000
	for name, c := range map[string]struct {
		strategy *holdfastv1.RestartStrategy
		steps    []failureStep
	}{
		"none": {noRestart(), []failureStep{{atMs: 1, exhausted: true}}},
		"fixed-delay, defaults: one restart after a second": {
			fixed(&holdfastv1.FixedDelay{}),
			[]failureStep{{atMs: 1, delayMs: 1000}, {atMs: 10 * hour, exhausted: true}},
		},
		"fixed-delay: time heals nothing, and failures do not join": {
			fixed(&holdfastv1.FixedDelay{Attempts: 3, DelayMs: 500}),
			[]failureStep{{atMs: 1, delayMs: 500}, {atMs: 2, delayMs: 500, backingOff: true}, {atMs: 9 * hour, delayMs: 500}, {atMs: 99 * hour, exhausted: true}},
		},
		"failure-rate, defaults: the second failure in a minute is one too many": {
			failureRate(&holdfastv1.FailureRate{}),
			[]failureStep{{atMs: 1, delayMs: 1000}, {atMs: 60_002, delayMs: 1000}, {atMs: 120_002, exhausted: true}},
		},
		"failure-rate: a failure exactly an interval ago still counts": {
			failureRate(&holdfastv1.FailureRate{MaxFailuresPerInterval: 2, FailureRateIntervalMs: 10_000, DelayMs: 7}),
			[]failureStep{
				{atMs: 0, delayMs: 7}, {atMs: 6_000, delayMs: 7}, {atMs: 12_001, delayMs: 7}, {atMs: 18_002, delayMs: 7},
				{atMs: 24_003, delayMs: 7}, {atMs: 28_002, exhausted: true},
			},
		},
		"exponential-delay, defaults: 1 s, times 1.5, at most a minute, without bound": {
			exponential(&holdfastv1.ExponentialDelay{}),
			steps(1000, 1500, 2250, 3375, 5062, 7593, 11390, 17085, 25628, 38443, 57665, 60000, 60000, 60000),
		},
		"exponential-delay: an hour after the restart begins anew, a millisecond less does not": {
			exponential(&holdfastv1.ExponentialDelay{}),
			[]failureStep{{atMs: 1000, delayMs: 1000}, {atMs: 3000, delayMs: 1500}, {atMs: 4500 + hour - 1, delayMs: 2250}, {atMs: 4500 + hour - 1 + 2250 + hour, delayMs: 1000}},
		},
		"exponential-delay: attempts-before-reset-backoff bounds the restarts": {
			exponential(&holdfastv1.ExponentialDelay{AttemptsBeforeResetBackoff: 2}),
			[]failureStep{{atMs: 1000, delayMs: 1000}, {atMs: 3000, delayMs: 1500}, {atMs: 5000, exhausted: true}},
		},
		"exponential-delay: the reset gives the attempts back": {
			exponential(&holdfastv1.ExponentialDelay{AttemptsBeforeResetBackoff: 2, ResetBackoffThresholdMs: 10_000}),
			[]failureStep{{atMs: 1000, delayMs: 1000}, {atMs: 3000, delayMs: 1500}, {atMs: 14_500, delayMs: 1000}, {atMs: 16_000, delayMs: 1500}, {atMs: 18_000, exhausted: true}},
		},
		"exponential-delay: jitter moves by its share, within the initial and the longest": {
			exponential(&holdfastv1.ExponentialDelay{InitialBackoffMs: 1000, MaxBackoffMs: 4000, BackoffMultiplier: 2, JitterFactor: 0.5}),
			[]failureStep{
				{atMs: 1000, jitter: -1, delayMs: 1000}, {atMs: 3000, jitter: -0.5, delayMs: 1500},
				{atMs: 6000, jitter: -1, delayMs: 2000}, {atMs: 9000, jitter: 0.9, delayMs: 4000},
			},
		},
		"exponential-delay: failures during a backoff join it and cost nothing": {
			exponential(&holdfastv1.ExponentialDelay{AttemptsBeforeResetBackoff: 2}),
			[]failureStep{
				{atMs: 1000, delayMs: 1000}, {atMs: 1400, backingOff: true, delayMs: 600}, {atMs: 2000, backingOff: true, delayMs: 0},
				// Nobody waits any more, whatever the clock of the host says.
				{atMs: 1900, delayMs: 1500}, {atMs: 9000, exhausted: true},
			},
		},
		"exponential-delay: a clock that went back joins nothing": {
			exponential(&holdfastv1.ExponentialDelay{}),
			[]failureStep{{atMs: 10 * hour, delayMs: 1000}, {atMs: 5000, backingOff: true, delayMs: 1500}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := counterSpec("count")
			spec.RestartStrategy = c.strategy
			l := newLog(t)
			l.running(spec)
			j := l.m.byID["job"]
			for i, s := range c.steps {
				d, ok := nextRestart(j, failedAt{nowMs: s.atMs, jitter: s.jitter, backingOff: s.backingOff})
				if ok == s.exhausted || ok && d != s.delayMs {
					t.Fatalf("failure %d at %d ms: %d ms, %v; want %+v", i+1, s.atMs, d, ok, s)
				}
				if ok {
					j.Restart.NotBeforeMs = s.atMs + int64(d)
				}
			}
		})
	}
}

func TestRestart_ExhaustedStrategyFailsTheJob(t *testing.T) {
	for name, strategy := range map[string]*holdfastv1.RestartStrategy{
		"none":              noRestart(),
		"fixed-delay":       fixed(&holdfastv1.FixedDelay{Attempts: 2}),
		"failure-rate":      failureRate(&holdfastv1.FailureRate{MaxFailuresPerInterval: 2}),
		"exponential-delay": exponential(&holdfastv1.ExponentialDelay{AttemptsBeforeResetBackoff: 2}),
	} {
		t.Run(name, func(t *testing.T) {
			spec := counterSpec("count")
			spec.RestartStrategy = strategy
			l := newLog(t)
			s, tok := l.running(spec)
			if strategy.GetNone() == nil {
				for i := range int64(2) {
					l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000+10_000*i))
					l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
					tok = l.again(s)
				}
			}
			l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 30_000))
			l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
		})
	}
}

// again assigns a subtask anew and returns its token.
func (l *log) again(subtask uint64) uint64 {
	l.t.Helper()
	v, _ := l.m.Subtask(subtask)
	return l.must(assign("job", target(subtask, v.Token, "b"))).FencingToken
}

func lose(subtask, token uint64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: &internalv1.LoseSubtask{
		SubtaskId: subtask, FencingToken: token, TimeMs: 5, Error: Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, "gone")}}}
}

// Losing processes, however often, costs no attempt; a failure does.
func TestRestart_LossesCostNoAttempt(t *testing.T) {
	spec := counterSpec("count")
	spec.RestartStrategy = fixed(&holdfastv1.FixedDelay{Attempts: 1})
	l := newLog(t)
	s, tok := l.running(spec)
	for range 20 {
		l.must(lose(s, tok))
		tok = l.again(s)
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	tok = l.again(s)
	l.must(lose(s, tok))
	tok = l.again(s)
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 2000))
	l.status(holdfastv1.JobStatus_JOB_STATUS_FAILED)
}

// When a job ends its subtasks are what became of them: the one that failed FAILED,
// those that the end found at work or waiting CANCELED, those that were done FINISHED.
func TestEnd_SubtasksAreWhatBecameOfThem(t *testing.T) {
	const (
		finished = holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED
		failed   = holdfastv1.SubtaskStatus_SUBTASK_STATUS_FAILED
		canceled = holdfastv1.SubtaskStatus_SUBTASK_STATUS_CANCELED
	)
	for end, want := range map[string][]holdfastv1.SubtaskStatus{"fail": {finished, failed, canceled, canceled}, "cancel": {finished, canceled, canceled, canceled}} {
		spec := coPartitioned(counterSpec("count"), 4)
		spec.RestartStrategy = &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_None{None: &holdfastv1.NoRestart{}}}
		l := newLog(t)
		l.must(submit(spec, "", "job"))
		l.must(splits("job", 0, 0, 0, 0))
		tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"), target(3, 0, "c"), target(4, 0, "d"))).FencingToken
		l.must(finish(1, tok, 1, 7))
		l.must(lose(4, tok))
		if end == "fail" {
			l.must(fail(2, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000))
		} else {
			l.must(&internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{JobId: "job", RequestId: "c"}}})
		}
		var got []holdfastv1.SubtaskStatus
		for _, st := range l.m.Describe("job").Subtasks {
			got = append(got, st.Status)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the subtasks are %v, want %v", end, got, want)
		}
	}
}

// Subtasks that fail together wait together: one attempt of exponential-delay.
func TestRestart_FailuresOfSeveralSubtasksAreOneAttempt(t *testing.T) {
	spec := coPartitioned(counterSpec("count"), 3)
	spec.RestartStrategy = exponential(&holdfastv1.ExponentialDelay{AttemptsBeforeResetBackoff: 1})
	l := newLog(t)
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0, 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"), target(3, 0, "c"))).FencingToken
	for i := range uint64(3) {
		l.must(fail(i+1, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 1000+int64(i)*100))
		l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	}
	r := l.m.byID["job"].Restart
	if r.Attempts != 1 || r.NotBeforeMs != 2000 {
		t.Fatalf("restart state: %v", r)
	}
	if n := len(l.m.Describe("job").Exceptions); n != 3 {
		t.Fatalf("%d exceptions are remembered, want all 3", n)
	}
}

// What failed, where, and whose fault it was; a loss is told from a failure.
func TestExceptions_TellWhoWhereAndWhat(t *testing.T) {
	l := newLog(t)
	l.must(&internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: &internalv1.RegisterNode{NodeId: "node", Name: "n1"}}})
	s, tok := l.running(counterSpec("count"))
	l.must(lose(s, tok))
	tok = l.again(s)
	l.must(fail(s, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 7))
	x := l.m.Describe("job").Exceptions
	if len(x) != 2 || x[0].ExceptionClass != holdfastv1.ExceptionClass_EXCEPTION_CLASS_LOST || x[0].ProcessId != "p-a" {
		t.Fatalf("exceptions: %v", x)
	}
	e := x[1]
	if e.ExceptionClass != holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER || e.NodeId != "node" || e.NodeName != "n1" ||
		e.ProcessId != "p-b" || e.Attempt != tok || e.OperatorUid != "source" || e.TimeMs != 7 || e.Error.Message != "boom" {
		t.Fatalf("the failure: %v", e)
	}
	for range 3 * MaxExceptions {
		l.must(lose(s, l.again(s)))
	}
	if n := len(l.m.Describe("job").Exceptions); n != MaxExceptions {
		t.Fatalf("%d exceptions are remembered, the bound is %d", n, MaxExceptions)
	}
}
