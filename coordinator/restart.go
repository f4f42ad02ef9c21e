package coordinator

import (
	"math"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Flink's defaults (restart-strategy.*), in milliseconds. Without a strategy a
// job without checkpoints restarts without bound: Flink's own default there
// would end the job at its first failure.
const (
	defaultFixedDelayMs      = 1_000
	defaultInitialBackoffMs  = 1_000
	defaultMaxBackoffMs      = 60_000
	defaultBackoffMultiplier = 1.5
	defaultResetThresholdMs  = 3_600_000
	defaultJitterFactor      = 0.1
	defaultFixedAttempts     = 1
	maxMultiplier            = 1000
	defaultRateFailures      = 1
	defaultRateIntervalMs    = 60_000
	defaultRateDelayMs       = 1_000
	maxRateFailures          = 1_000
	unboundedAttempts        = math.MaxUint32
)

// effectiveStrategy fills the defaults of a restart strategy.
func effectiveStrategy(s *holdfastv1.RestartStrategy, checkpoints bool) *holdfastv1.RestartStrategy {
	switch {
	case s.GetStrategy() == nil && checkpoints:
		return exponential(&holdfastv1.ExponentialDelay{})
	case s.GetStrategy() == nil:
		return fixed(&holdfastv1.FixedDelay{Attempts: unboundedAttempts, DelayMs: defaultFixedDelayMs})
	case s.GetExponentialDelay() != nil:
		return exponential(s.GetExponentialDelay())
	case s.GetFixedDelay() != nil:
		return fixed(s.GetFixedDelay())
	case s.GetFailureRate() != nil:
		return failureRate(s.GetFailureRate())
	}
	return s
}

func fixed(f *holdfastv1.FixedDelay) *holdfastv1.RestartStrategy {
	f = &holdfastv1.FixedDelay{Attempts: f.Attempts, DelayMs: f.DelayMs}
	setDefault(&f.Attempts, defaultFixedAttempts)
	setDefault(&f.DelayMs, defaultFixedDelayMs)
	f.DelayMs = min(f.DelayMs, longestMs)
	return &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_FixedDelay{FixedDelay: f}}
}

func failureRate(r *holdfastv1.FailureRate) *holdfastv1.RestartStrategy {
	r = &holdfastv1.FailureRate{MaxFailuresPerInterval: r.MaxFailuresPerInterval, FailureRateIntervalMs: r.FailureRateIntervalMs, DelayMs: r.DelayMs}
	setDefault(&r.MaxFailuresPerInterval, defaultRateFailures)
	setDefault(&r.FailureRateIntervalMs, defaultRateIntervalMs)
	setDefault(&r.DelayMs, defaultRateDelayMs)
	r.FailureRateIntervalMs, r.DelayMs = min(r.FailureRateIntervalMs, longestMs), min(r.DelayMs, longestMs)
	return &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_FailureRate{FailureRate: r}}
}

func exponential(e *holdfastv1.ExponentialDelay) *holdfastv1.RestartStrategy {
	e = &holdfastv1.ExponentialDelay{
		InitialBackoffMs: e.InitialBackoffMs, MaxBackoffMs: e.MaxBackoffMs, BackoffMultiplier: e.BackoffMultiplier,
		ResetBackoffThresholdMs: e.ResetBackoffThresholdMs, JitterFactor: e.JitterFactor,
		AttemptsBeforeResetBackoff: e.AttemptsBeforeResetBackoff,
	}
	setDefault(&e.InitialBackoffMs, defaultInitialBackoffMs)
	setDefault(&e.MaxBackoffMs, defaultMaxBackoffMs)
	setDefault(&e.BackoffMultiplier, defaultBackoffMultiplier)
	setDefault(&e.ResetBackoffThresholdMs, defaultResetThresholdMs)
	setDefault(&e.JitterFactor, defaultJitterFactor)
	for _, ms := range []*uint64{&e.InitialBackoffMs, &e.MaxBackoffMs, &e.ResetBackoffThresholdMs} {
		*ms = min(*ms, longestMs)
	}
	return &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_ExponentialDelay{ExponentialDelay: e}}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// failedAt is what a restart strategy needs to know of a failure.
type failedAt struct {
	nowMs int64
	// jitter is in [-1, 1) and comes with the command.
	jitter float64
	// backingOff: another subtask of the job waits for its restart already.
	backingOff bool
}

// nextRestart counts a failure and tells after how many milliseconds the subtask
// may start again; false: the strategy is exhausted.
func nextRestart(j jobState, at failedAt) (delayMs uint64, ok bool) {
	r := j.Restart
	switch s := j.Spec.RestartStrategy.GetStrategy().(type) {
	case *holdfastv1.RestartStrategy_FixedDelay:
		r.LastFailureMs = at.nowMs
		if r.Attempts >= s.FixedDelay.Attempts {
			return 0, false
		}
		r.Attempts++
		return s.FixedDelay.DelayMs, true
	case *holdfastv1.RestartStrategy_ExponentialDelay:
		return exponentialDelay(r, s.ExponentialDelay, at)
	case *holdfastv1.RestartStrategy_FailureRate:
		return rateDelay(r, s.FailureRate, at.nowMs)
	}
	return 0, false
}

// rateDelay is Flink's failure-rate: the failure that is one too many in an
// interval ends the job.
func rateDelay(r *internalv1.RestartState, s *holdfastv1.FailureRate, nowMs int64) (uint64, bool) {
	r.LastFailureMs = nowMs
	r.FailuresMs = append(r.FailuresMs, nowMs)
	if excess := len(r.FailuresMs) - int(s.MaxFailuresPerInterval) - 1; excess > 0 {
		r.FailuresMs = r.FailuresMs[excess:]
	}
	if len(r.FailuresMs) > int(s.MaxFailuresPerInterval) && nowMs-r.FailuresMs[0] <= int64(s.FailureRateIntervalMs) {
		return 0, false
	}
	r.Attempts++
	return s.DelayMs, true
}

// exponentialDelay is Flink's exponential-delay, as of 1.19: failures while
// another subtask waits for its restart join that one, and running for the
// threshold after a restart sets attempts and backoff back.
func exponentialDelay(r *internalv1.RestartState, s *holdfastv1.ExponentialDelay, at failedAt) (uint64, bool) {
	// A clock that went back says nothing of the wait.
	if at.backingOff && at.nowMs >= r.LastFailureMs && at.nowMs <= r.NotBeforeMs {
		return uint64(r.NotBeforeMs - at.nowMs), true
	}
	if r.LastFailureMs != 0 && at.nowMs-max(r.LastFailureMs, r.NotBeforeMs) >= int64(s.ResetBackoffThresholdMs) {
		r.Attempts = 0
	}
	r.LastFailureMs = at.nowMs
	if s.AttemptsBeforeResetBackoff > 0 && r.Attempts >= s.AttemptsBeforeResetBackoff {
		return 0, false
	}
	backoff := backoffOf(s, r.Attempts)
	r.Attempts++
	r.CurrentBackoffMs = uint64(min(backoff, float64(s.MaxBackoffMs)))
	delay := float64(backoff * float64(1+float64(at.jitter*s.JitterFactor)))
	return uint64(max(float64(s.InitialBackoffMs), min(delay, float64(s.MaxBackoffMs)))), true
}

// backoffOf is initial * multiplier^attempts in milliseconds, up to what no maximum
// and no jitter tells from infinity. It multiplies step by step, and the conversions
// keep the compiler from fusing operations, so that every architecture computes the
// same bits.
func backoffOf(s *holdfastv1.ExponentialDelay, attempts uint32) float64 {
	backoff := float64(s.InitialBackoffMs)
	for range attempts {
		if s.BackoffMultiplier <= 1 || backoff >= 1<<53 {
			break
		}
		backoff = float64(backoff * s.BackoffMultiplier)
	}
	return backoff
}
