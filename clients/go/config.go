package holdfast

import (
	"errors"
	"fmt"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CheckpointingMode is what a checkpoint guarantees.
type CheckpointingMode int

// The modes of EnableCheckpointing.
const (
	// ExactlyOnce: after a failure state is as if each record had been seen
	// exactly once.
	ExactlyOnce CheckpointingMode = iota
	// AtLeastOnce: as if each record had been seen once or more.
	AtLeastOnce
)

func (m CheckpointingMode) proto() holdfastv1.CheckpointMode {
	if m == AtLeastOnce {
		return holdfastv1.CheckpointMode_CHECKPOINT_MODE_AT_LEAST_ONCE
	}
	return holdfastv1.CheckpointMode_CHECKPOINT_MODE_EXACTLY_ONCE
}

// StateBackend says where working state lives.
type StateBackend interface {
	stateBackend() *holdfastv1.StateBackend
}

// MemoryStateBackend keeps state in the replicated memory of the nodes. It is
// the default.
type MemoryStateBackend struct {
	// MaxSize is the most bytes of keys and values that one named state of a
	// subtask may have; 0 means state.memory.max-size, 5 MiB by default.
	MaxSize uint64
}

func (b MemoryStateBackend) stateBackend() *holdfastv1.StateBackend {
	return &holdfastv1.StateBackend{Name: "memory", MemoryMaxSize: b.MaxSize}
}

// RestartStrategy says what follows the failure of a subtask.
type RestartStrategy interface {
	restartStrategy() *holdfastv1.RestartStrategy
}

type restartStrategy struct {
	p *holdfastv1.RestartStrategy
	// problem is told by Execute.
	problem error
}

func (r restartStrategy) restartStrategy() *holdfastv1.RestartStrategy { return r.p }

// NoRestart lets the first failure fail the job.
func NoRestart() RestartStrategy {
	return restartStrategy{p: &holdfastv1.RestartStrategy{
		Strategy: &holdfastv1.RestartStrategy_None{None: &holdfastv1.NoRestart{}},
	}}
}

// FixedDelayRestart restarts at most attempts times, each after delay.
func FixedDelayRestart(attempts uint32, delay time.Duration) RestartStrategy {
	return restartStrategy{problem: notNegative("the delay of FixedDelayRestart", delay), p: &holdfastv1.RestartStrategy{
		Strategy: &holdfastv1.RestartStrategy_FixedDelay{FixedDelay: &holdfastv1.FixedDelay{
			Attempts: attempts, DelayMs: uint64(delay.Milliseconds()),
		}},
	}}
}

// FailureRateRestart restarts after delay until more than maxFailures failures
// fall into one interval.
func FailureRateRestart(maxFailures uint32, interval, delay time.Duration) RestartStrategy {
	problem := errors.Join(notNegative("the interval of FailureRateRestart", interval), notNegative("the delay of FailureRateRestart", delay))
	return restartStrategy{problem: problem, p: &holdfastv1.RestartStrategy{
		Strategy: &holdfastv1.RestartStrategy_FailureRate{FailureRate: &holdfastv1.FailureRate{
			MaxFailuresPerInterval: maxFailures, FailureRateIntervalMs: uint64(interval.Milliseconds()), DelayMs: uint64(delay.Milliseconds()),
		}},
	}}
}

// ExponentialDelay are the options of Flink's restart-strategy.exponential-delay.
type ExponentialDelay struct {
	InitialBackoff    time.Duration
	MaxBackoff        time.Duration
	BackoffMultiplier float64
	// ResetBackoffThreshold: running this long without a failure sets the
	// backoff back.
	ResetBackoffThreshold time.Duration
	// JitterFactor is the share by which the backoff varies.
	JitterFactor float64
	// AttemptsBeforeResetBackoff fails the job after this many restarts; 0 means
	// never.
	AttemptsBeforeResetBackoff uint32
}

// ExponentialDelayRestart restarts after a delay that grows with each failure.
func ExponentialDelayRestart(d ExponentialDelay) RestartStrategy {
	problem := errors.Join(notNegative("ExponentialDelay.InitialBackoff", d.InitialBackoff), notNegative("ExponentialDelay.MaxBackoff", d.MaxBackoff),
		notNegative("ExponentialDelay.ResetBackoffThreshold", d.ResetBackoffThreshold))
	return restartStrategy{problem: problem, p: &holdfastv1.RestartStrategy{
		Strategy: &holdfastv1.RestartStrategy_ExponentialDelay{ExponentialDelay: &holdfastv1.ExponentialDelay{
			InitialBackoffMs:           uint64(d.InitialBackoff.Milliseconds()),
			MaxBackoffMs:               uint64(d.MaxBackoff.Milliseconds()),
			BackoffMultiplier:          d.BackoffMultiplier,
			ResetBackoffThresholdMs:    uint64(d.ResetBackoffThreshold.Milliseconds()),
			JitterFactor:               d.JitterFactor,
			AttemptsBeforeResetBackoff: d.AttemptsBeforeResetBackoff,
		}},
	}}
}

// notNegative guards what becomes an unsigned number, where -1 ms would be for
// ever.
func notNegative(what string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s must not be negative, and is %s", what, d)
	}
	return nil
}
