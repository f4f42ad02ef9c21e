package holdfast

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/config"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// defaults are what the configuration file and the environment say of jobs. They
// count where the program says nothing; what they do not have either is left to
// the server.
type defaults struct {
	job config.Job
	set func(key string) bool
	// notes are told once there is a logger.
	notes []string
}

// readDefaults reads the file that HOLDFAST_CONFIG names, and the variables of
// the keys of jobs. See docs/configuration.md.
func (e *StreamExecutionEnvironment) readDefaults() {
	r := config.Load(config.Sources{
		Reader: config.ForProgram, File: os.Getenv(config.FileVariable), Environ: os.Environ(),
	})
	for _, p := range r.Problems {
		e.problem(fmt.Errorf("configuration: %w", p))
	}
	e.defaults = defaults{job: r.Config.Job, set: r.IsSet, notes: r.Notes}
	e.readCheckpointing()
	e.restore = e.defaults.restoreFrom()
	e.copyBytes, e.flushDelay = int(e.defaults.job.WorkingCopy), e.defaults.job.FlushMaxDelay
}

// readCheckpointing takes what is said of execution.checkpointing.*.
func (e *StreamExecutionEnvironment) readCheckpointing() {
	d := e.defaults
	if d.set("execution.checkpointing.interval") {
		e.checkpoint.IntervalMs = milliseconds(d.job.Checkpointing.Interval)
	}
	if d.set("execution.checkpointing.mode") {
		e.checkpoint.Mode = holdfastv1.CheckpointMode(holdfastv1.CheckpointMode_value["CHECKPOINT_MODE_"+d.job.Checkpointing.Mode])
	}
	if d.set("execution.checkpointing.timeout") {
		e.checkpoint.TimeoutMs = milliseconds(d.job.Checkpointing.Timeout)
	}
	if d.set("execution.checkpointing.num-retained") {
		e.checkpoint.NumRetained = d.job.Checkpointing.NumRetained
	}
	if d.set("execution.checkpointing.min-pause") {
		e.checkpoint.MinPauseMs = milliseconds(d.job.Checkpointing.MinPause)
	}
	if d.set("execution.checkpointing.tolerable-failed-checkpoints") {
		e.checkpoint.TolerableFailedCheckpoints = d.job.Checkpointing.Tolerable
	}
	e.readCheckpointStorage()
}

func (e *StreamExecutionEnvironment) readCheckpointStorage() {
	d, c := e.defaults, e.defaults.job.Checkpointing
	e.checkpoint.Directory, e.checkpoint.SavepointDirectory, e.checkpoint.Incremental = c.Dir, c.SavepointDir, c.Incremental
	if d.set("execution.checkpointing.storage") {
		e.checkpoint.Storage = holdfastv1.CheckpointStorage(holdfastv1.CheckpointStorage_value["CHECKPOINT_STORAGE_"+strings.ToUpper(c.Storage)])
	}
	if d.set("execution.checkpointing.externalized-checkpoint-retention") {
		e.checkpoint.Retention = holdfastv1.CheckpointRetention(holdfastv1.CheckpointRetention_value["CHECKPOINT_RETENTION_"+c.Retention])
	}
	if d.set("execution.checkpointing.data-inline-threshold") {
		e.checkpoint.InlineThreshold = uint64(c.InlineThreshold)
	}
}

func milliseconds(d time.Duration) uint64 { return uint64(d.Milliseconds()) }

// stateBackend is the program's, with the configured size where the program has
// none.
func (e *StreamExecutionEnvironment) stateBackend() *holdfastv1.StateBackend {
	if e.backend == nil {
		e.backend = byName(e.defaults.job.StateBackend)
	}
	b := e.backend.stateBackend()
	if b.Name == "memory" && b.MemoryMaxSize == 0 && e.defaults.set("state.memory.max-size") {
		b.MemoryMaxSize = uint64(e.defaults.job.MemoryMaxSize)
	}
	return b
}

// restartStrategy is the program's, else the configured one, else nil: then the
// server decides. It is asked for when the whole program is known, because the
// strategy that is not named depends on the checkpoints.
func (e *StreamExecutionEnvironment) restartStrategy() *holdfastv1.RestartStrategy {
	if e.restart != nil {
		return e.restart.restartStrategy()
	}
	var s RestartStrategy
	switch e.defaults.job.Restart.Type {
	case "none":
		s = NoRestart()
	case "fixed-delay":
		s = e.defaults.fixedDelay(e.defaults.job.Restart.FixedDelay.Attempts)
	case "exponential-delay":
		s = e.defaults.exponentialDelay()
	case "failure-rate":
		x := e.defaults.job.Restart.FailureRate
		s = FailureRateRestart(x.MaxFailures, x.Interval, x.Delay)
	default:
		s = e.defaults.unnamedStrategy(e.checkpoint.GetIntervalMs() > 0)
	}
	if s == nil {
		return nil
	}
	return s.restartStrategy()
}

// unnamedStrategy is the one that applies by itself, if options of it are set.
func (d defaults) unnamedStrategy(checkpoints bool) RestartStrategy {
	switch {
	case checkpoints && d.setAny("restart-strategy.exponential-delay."):
		return d.exponentialDelay()
	case !checkpoints && d.set("restart-strategy.fixed-delay.attempts"):
		return d.fixedDelay(d.job.Restart.FixedDelay.Attempts)
	case !checkpoints && d.set("restart-strategy.fixed-delay.delay"):
		// Without a strategy there is no bound, unlike in Flink.
		return d.fixedDelay(math.MaxUint32)
	}
	return nil
}

func (d defaults) setAny(family string) bool {
	for _, option := range []string{"initial-backoff", "max-backoff", "backoff-multiplier", "reset-backoff-threshold", "jitter-factor", "attempts-before-reset-backoff"} {
		if d.set(family + option) {
			return true
		}
	}
	return false
}

func (d defaults) fixedDelay(attempts uint32) RestartStrategy {
	return FixedDelayRestart(attempts, d.job.Restart.FixedDelay.Delay)
}

func (d defaults) exponentialDelay() RestartStrategy {
	x := d.job.Restart.ExponentialDelay
	return ExponentialDelayRestart(ExponentialDelay{
		InitialBackoff: x.InitialBackoff, MaxBackoff: x.MaxBackoff, BackoffMultiplier: x.BackoffMultiplier,
		ResetBackoffThreshold: x.ResetBackoffThreshold, JitterFactor: x.JitterFactor, AttemptsBeforeResetBackoff: x.AttemptsBeforeReset,
	})
}
