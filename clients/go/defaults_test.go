package holdfast

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// configured is an environment with that configuration file.
func configured(t *testing.T, text string) *StreamExecutionEnvironment {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDFAST_CONFIG", name)
	return GetExecutionEnvironment(WithLogger(slog.New(slog.DiscardHandler)))
}

// specIs compares the settings of the job's specification.
func specIs(t *testing.T, env *StreamExecutionEnvironment, want string) {
	t.Helper()
	numbers(env, "s")
	got, err := env.spec("job")
	if err != nil {
		t.Fatal(err)
	}
	got.Operators = nil
	wanted := &holdfastv1.JobSpec{}
	if err := prototext.Unmarshal([]byte(`name: "job" `+want), wanted); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, wanted) {
		t.Errorf("got  %v\nwant %v", got, wanted)
	}
}

const jobFile = `
execution.checkpointing: {interval: 10 s, mode: AT_LEAST_ONCE, timeout: 1 min, num-retained: 3}
state: {backend: jobmanager, memory.max-size: 64 mb, flush.max-delay: 2 s, working-copy.size: 8 mb}
restart-strategy: {type: fixed-delay, fixed-delay: {attempts: 4, delay: 5 s}}
session-timeout: 20 s
`

func TestDefaults_FileCountsWhereTheProgramIsSilent(t *testing.T) {
	env := configured(t, jobFile)
	specIs(t, env, `checkpoint { interval_ms: 10000 mode: CHECKPOINT_MODE_AT_LEAST_ONCE timeout_ms: 60000 num_retained: 3 }
		state_backend { name: "memory" memory_max_size: 67108864 } restart_strategy { fixed_delay { attempts: 4 delay_ms: 5000 } }`)
	if env.flushDelay != 2*time.Second || env.copyBytes != 8<<20 {
		t.Errorf("flush delay %s, working copy %d", env.flushDelay, env.copyBytes)
	}
}

func TestDefaults_ProgramWins(t *testing.T) {
	env := configured(t, jobFile)
	env.EnableCheckpointing(time.Second, ExactlyOnce)
	env.SetCheckpointTimeout(2 * time.Second)
	env.SetNumRetainedCheckpoints(7)
	env.SetStateBackend(MemoryStateBackend{MaxSize: 99})
	env.SetRestartStrategy(NoRestart())
	env.SetFlushMaxDelay(3 * time.Second)
	env.SetWorkingCopySize(1 << 20)
	specIs(t, env, `checkpoint { interval_ms: 1000 mode: CHECKPOINT_MODE_EXACTLY_ONCE timeout_ms: 2000 num_retained: 7 }
		state_backend { name: "memory" memory_max_size: 99 } restart_strategy { none {} }`)
	if env.flushDelay != 3*time.Second || env.copyBytes != 1<<20 {
		t.Errorf("flush delay %s, working copy %d", env.flushDelay, env.copyBytes)
	}
}

func TestDefaults_WhatTheProgramLeavesOpenComesFromTheFile(t *testing.T) {
	env := configured(t, jobFile)
	env.EnableCheckpointing(time.Second)
	env.SetStateBackend(MemoryStateBackend{})
	specIs(t, env, `checkpoint { interval_ms: 1000 mode: CHECKPOINT_MODE_AT_LEAST_ONCE timeout_ms: 60000 num_retained: 3 }
		state_backend { name: "memory" memory_max_size: 67108864 } restart_strategy { fixed_delay { attempts: 4 delay_ms: 5000 } }`)
}

func TestDefaults_EnvironmentOverFile(t *testing.T) {
	t.Setenv("HOLDFAST_EXECUTION_CHECKPOINTING_INTERVAL", "0")
	t.Setenv("HOLDFAST_RESTART_STRATEGY", "off")
	specIs(t, configured(t, "execution.checkpointing.interval: 10 s\n"),
		`checkpoint {} state_backend { name: "memory" } restart_strategy { none {} }`)
}

func TestDefaults_WithoutAnythingTheServerDecides(t *testing.T) {
	specIs(t, configured(t, "name: n1\n"), `checkpoint {} state_backend { name: "memory" }`)
}

func TestDefaults_OptionsOfTheStrategyThatAppliesByItself(t *testing.T) {
	const options = "restart-strategy.fixed-delay.delay: 3 s\nrestart-strategy.exponential-delay.max-backoff: 9 s\n"
	env := configured(t, options)
	specIs(t, env, `checkpoint {} state_backend { name: "memory" } restart_strategy { fixed_delay { attempts: 4294967295 delay_ms: 3000 } }`)
	env = configured(t, options)
	env.EnableCheckpointing(time.Second)
	specIs(t, env, `checkpoint { interval_ms: 1000 } state_backend { name: "memory" } restart_strategy { exponential_delay {
		initial_backoff_ms: 1000 max_backoff_ms: 9000 backoff_multiplier: 1.5 reset_backoff_threshold_ms: 3600000 jitter_factor: 0.1 } }`)
	env = configured(t, "restart-strategy: fixeddelay\n")
	specIs(t, env, `checkpoint {} state_backend { name: "memory" } restart_strategy { fixed_delay { attempts: 1 delay_ms: 1000 } }`)
}

func TestDefaults_ProblemsAreToldByExecute(t *testing.T) {
	env := configured(t, "state.backend: forst\nexecution.checkpointing.intervall: 5 s\n")
	numbers(env, "s")
	err := env.Execute(t.Context(), "job")
	for _, want := range []string{
		`hf.yaml:1: state.backend: "forst" is not supported yet; this version has memory, filesystem and rocksdb`,
		"hf.yaml:2: execution.checkpointing.intervall: there is no such key; did you mean execution.checkpointing.interval?",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestDefaults_UnknownVariablesAreWarnings(t *testing.T) {
	t.Setenv("HOLDFAST_STATE_FLUSH_MAXDELAY", "1 s")
	var log bytes.Buffer
	env := GetExecutionEnvironment(WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	specIs(t, env, `checkpoint {} state_backend { name: "memory" }`)
	if want := "HOLDFAST_STATE_FLUSH_MAXDELAY: there is no such key; did you mean HOLDFAST_STATE_FLUSH_MAX_DELAY?"; !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("log: %s", log.String())
	}
}

func TestSetFlushMaxDelay_Bound(t *testing.T) {
	env := configured(t, "# nothing\n")
	env.SetFlushMaxDelay(0)
	numbers(env, "s")
	if _, err := env.spec("job"); err == nil || !strings.Contains(err.Error(), "the flush delay must be at least 1 ms, and is 0s") {
		t.Errorf("%v", err)
	}
}

const backendFile = `
state.backend: rocksdb
state.backend.fs.checkpointdir: file:///mnt/c
state.savepoints.dir: file:///mnt/s
execution.checkpointing: {incremental: true, externalized-checkpoint-retention: RETAIN_ON_CANCELLATION, data-inline-threshold: 4 kb}
`

func TestDefaults_BackendAndDirectoriesOfTheFile(t *testing.T) {
	specIs(t, configured(t, backendFile), `state_backend { name: "rocksdb" } checkpoint { directory: "file:///mnt/c" savepoint_directory: "file:///mnt/s"
		incremental: true retention: CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION inline_threshold: 4096 }`)
	for file, want := range map[string]string{
		"state.backend: hashmap":          `state_backend { name: "filesystem" } checkpoint {}`,
		"state.backend: bbolt":            `state_backend { name: "bbolt" } checkpoint {}`,
		"state.memory.max-size: 1 kb":     `state_backend { name: "memory" memory_max_size: 1024 } checkpoint {}`,
		"state.checkpoints.dir: s3://b/c": `state_backend { name: "memory" } checkpoint { directory: "s3://b/c" }`,
		"state.checkpoint-storage: jobmanager\nstate.checkpoints.dir: s3://b/c": `state_backend { name: "memory" } checkpoint { directory: "s3://b/c" storage: CHECKPOINT_STORAGE_JOBMANAGER }`,
	} {
		specIs(t, configured(t, file+"\n"), want)
	}
}

func TestDefaults_ProgramWinsOverBackendAndDirectoriesOfTheFile(t *testing.T) {
	env := configured(t, backendFile+"execution.checkpointing.storage: jobmanager\n")
	env.SetStateBackend(FilesystemStateBackend{})
	env.SetCheckpointStorage("hdfs://h:8020/c")
	env.SetDefaultSavepointDirectory("hdfs://h:8020/s")
	env.EnableIncrementalCheckpoints(false)
	env.SetExternalizedCheckpointRetention(DeleteOnCancellation)
	env.SetDataInlineThreshold(9)
	specIs(t, env, `state_backend { name: "filesystem" } checkpoint { directory: "hdfs://h:8020/c" savepoint_directory: "hdfs://h:8020/s"
		storage: CHECKPOINT_STORAGE_FILESYSTEM retention: CHECKPOINT_RETENTION_DELETE_ON_CANCELLATION inline_threshold: 9 }`)
	env = configured(t, backendFile)
	env.SetStateBackend(MemoryStateBackend{})
	env.SetCheckpointStorage(JobManagerCheckpointStorage)
	env.SetDefaultSavepointDirectory("")
	env.EnableIncrementalCheckpoints(false)
	env.SetExternalizedCheckpointRetention(NoExternalizedCheckpoints)
	env.SetDataInlineThreshold(20 << 10)
	specIs(t, env, `state_backend { name: "memory" } checkpoint { storage: CHECKPOINT_STORAGE_JOBMANAGER
		retention: CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS inline_threshold: 20480 }`)
}

func TestSetCheckpointing_WhatIsWrong(t *testing.T) {
	env := configured(t, "# nothing\n")
	env.SetCheckpointStorage("")
	env.SetExternalizedCheckpointRetention(7)
	env.SetDataInlineThreshold(0)
	numbers(env, "s")
	_, err := env.spec("job")
	for _, want := range []string{
		"SetCheckpointStorage needs a directory, as file:///path, s3://bucket/path or hdfs://host:port/path, or JobManagerCheckpointStorage",
		"the retention of checkpoints is NoExternalizedCheckpoints, DeleteOnCancellation or RetainOnCancellation, not 7",
		"the inline threshold must be at least 1 byte, and is 0",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// What a job begins from: an option of the program, else the variables that
// `holdfast run --from-savepoint` sets, else the file.
func TestDefaults_Restore(t *testing.T) {
	const file = "execution.savepoint.path: file:///old\nexecution.savepoint-restore-mode: CLAIM\n"
	restoreIs := func(env *StreamExecutionEnvironment, want string) {
		t.Helper()
		wanted := &holdfastv1.RestoreFrom{}
		if err := prototext.Unmarshal([]byte(want), wanted); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(env.restore, wanted) {
			t.Errorf("got %v, want %v", env.restore, wanted)
		}
	}
	if env := configured(t, "# nothing\n"); env.restore != nil {
		t.Errorf("a job begins from %v", env.restore)
	}
	restoreIs(configured(t, file), `path: "file:///old" claim_mode: CLAIM_MODE_CLAIM`)
	t.Setenv("HOLDFAST_EXECUTION_STATE_RECOVERY_PATH", "file:///new")
	t.Setenv("HOLDFAST_EXECUTION_STATE_RECOVERY_IGNORE_UNCLAIMED_STATE", "true")
	t.Setenv("HOLDFAST_EXECUTION_STATE_RECOVERY_CLAIM_MODE", "NO_CLAIM")
	restoreIs(configured(t, file), `path: "file:///new" allow_non_restored_state: true claim_mode: CLAIM_MODE_NO_CLAIM`)
	env := GetExecutionEnvironment(WithLogger(slog.New(slog.DiscardHandler)), WithRestore(Restore{Path: "s3://b/x", ClaimMode: Claim}))
	restoreIs(env, `path: "s3://b/x" claim_mode: CLAIM_MODE_CLAIM`)
}
