package holdfast

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/clients/go/datagen"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// stateful declares the states it is told to.
type stateful struct {
	names []string
	open  error
	count *ValueState[int64]
}

func (s *stateful) Open(ctx RuntimeContext) error {
	for _, name := range s.names {
		var err error
		if s.count, err = GetState(ctx, ValueStateDescriptor[int64]{Name: name, TypeVersion: 2}); err != nil {
			return err
		}
	}
	return s.open
}

func (s *stateful) Map(v string) (string, error) { return v, nil }

func numbers(env *StreamExecutionEnvironment, uid string) *DataStream[string] {
	return FromSource(env, uid, datagen.NewSource(datagen.Options{Records: 10}), SimpleStringSchema)
}

func constant(string) int64 { return 1 }

func TestExecute_TellsWhatIsWrongBeforeAnythingRuns(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  string
		build func(env *StreamExecutionEnvironment)
	}{
		{"no source", "no source", func(*StreamExecutionEnvironment) {}},
		{"job name", "job name", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.jobName = ".x" }},
		{"uid twice", `uid "s"`, func(env *StreamExecutionEnvironment) { numbers(env, "s"); numbers(env, "s") }},
		{"no uid", "needs a uid", func(env *StreamExecutionEnvironment) { numbers(env, "") }},
		{"nil function", `"m" needs a function`, func(env *StreamExecutionEnvironment) {
			Map(numbers(env, "s"), "m", MapFunction[string, string](nil))
		}},
		{"nil plain function", `"m" needs a function`, func(env *StreamExecutionEnvironment) {
			Map(numbers(env, "s"), "m", MapFunc[string, string](nil))
		}},
		{"nil key", "KeyBy needs", func(env *StreamExecutionEnvironment) { KeyBy[int64](numbers(env, "s"), nil) }},
		{"nil source", "needs a source", func(env *StreamExecutionEnvironment) {
			FromSource[string](env, "s", (*datagen.Source)(nil), SimpleStringSchema)
			env.nodes[0].source = datagen.NewSource(datagen.Options{})
		}},
		{"state twice", "two states", func(env *StreamExecutionEnvironment) {
			Map(KeyBy(numbers(env, "s"), constant), "m", &stateful{names: []string{"a", "a"}})
		}},
		{"state without a name", "needs a name", func(env *StreamExecutionEnvironment) {
			Map(KeyBy(numbers(env, "s"), constant), "m", &stateful{names: []string{""}})
		}},
		{"state without a key", "keyed stream", func(env *StreamExecutionEnvironment) {
			Map(numbers(env, "s"), "m", &stateful{names: []string{"a"}})
		}},
		{"Open fails", "no database", func(env *StreamExecutionEnvironment) {
			Map(numbers(env, "s"), "m", &stateful{open: errors.New("no database")})
		}},
		{"hash above 1", "KeyByCoPartitioned", func(env *StreamExecutionEnvironment) {
			env.SetParallelism(2)
			Map(KeyBy(numbers(env, "s"), constant), "m", &stateful{})
		}},
		{"parallelism 0", "the job cannot run: the parallelism must be at least 1, and is 0", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.SetParallelism(0) }},
		{"parallelism 100,000", "the job cannot run: the parallelism must be at most 32768, and is 100000", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.SetParallelism(100_000) }},
		{"max parallelism", "the job cannot run: the max parallelism must be at most 32768, and is 4294967297", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.SetMaxParallelism(1<<32 + 1) }},
		{"interval 0", "the job cannot run: the checkpoint interval must be at least 1 ms, and is 0s", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.EnableCheckpointing(0) }},
		{"negative interval", "the job cannot run: the checkpoint interval must be at least 1 ms, and is -1s", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.EnableCheckpointing(-time.Second) }},
		{"timeout 0", "the job cannot run: the checkpoint timeout must be at least 1 ms, and is 0s", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.SetCheckpointTimeout(0) }},
		{"negative pause", "the job cannot run: the pause between checkpoints must not be negative, and is -1s", func(env *StreamExecutionEnvironment) {
			numbers(env, "s")
			env.SetMinPauseBetweenCheckpoints(-time.Second)
		}},
		{"negative delay", "the job cannot run: the delay of FixedDelayRestart must not be negative, and is -1s", func(env *StreamExecutionEnvironment) {
			numbers(env, "s")
			env.SetRestartStrategy(FixedDelayRestart(1, -time.Second))
		}},
		{"negative backoff", "the job cannot run: ExponentialDelay.MaxBackoff must not be negative, and is -1s", func(env *StreamExecutionEnvironment) {
			numbers(env, "s")
			env.SetRestartStrategy(ExponentialDelayRestart(ExponentialDelay{MaxBackoff: -time.Second, BackoffMultiplier: 1}))
		}},
		{"name with a slash", `the job cannot run: the job name "a/b" must be 1 to 128 of the characters A-Z a-z 0-9 . _ - and space, the first one neither dot nor space`, func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.jobName = "a/b" }},
		{"concurrent checkpoints", "must be 1, and is 2: a subtask seals its working copy for one checkpoint at a time", func(env *StreamExecutionEnvironment) {
			numbers(env, "s")
			env.SetMaxConcurrentCheckpoints(2)
		}},
		{"backend", "backend", func(env *StreamExecutionEnvironment) { numbers(env, "s"); env.SetStateBackend(nil) }},
		{"source options", "negative", func(env *StreamExecutionEnvironment) {
			FromSource(env, "s", datagen.NewSource(datagen.Options{Records: -1}), SimpleStringSchema)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := GetExecutionEnvironment(WithAddresses("127.0.0.1:1"))
			c.build(env)
			err := env.Execute(context.Background(), "job")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Execute returned %v, want %q", err, c.want)
			}
		})
	}
}

func TestExecute_EnvironmentVariablesAreChecked(t *testing.T) {
	t.Setenv("HOLDFAST_PARALLELISM", "many")
	env := GetExecutionEnvironment()
	numbers(env, "s")
	if err := env.Execute(context.Background(), "job"); err == nil || !strings.Contains(err.Error(), "HOLDFAST_PARALLELISM") {
		t.Fatalf("Execute returned %v", err)
	}
}

func TestEnvironment_ReadsItsVariables(t *testing.T) {
	t.Setenv("HOLDFAST_ADDRESS", "a:1, b:2,")
	t.Setenv("HOLDFAST_SUBMISSION_ID", "s")
	t.Setenv("HOLDFAST_PROCESS_ID", "p")
	t.Setenv("HOLDFAST_PARALLELISM", "3")
	t.Setenv("HOLDFAST_JOB_NAME", "other")
	t.Setenv("HOLDFAST_TASK_SLOTS", "2")
	env := GetExecutionEnvironment()
	if strings.Join(env.addresses, "|") != "a:1|b:2" || env.submissionID != "s" || env.processID != "p" ||
		env.Parallelism() != 3 || env.jobName != "other" || env.slots != 2 {
		t.Fatalf("environment is %+v", env)
	}
	env = GetExecutionEnvironment(WithAddresses("c:3"), WithProcessID("q"), WithSubmissionID("z"), WithTaskSlots(5))
	if env.addresses[0] != "c:3" || env.processID != "q" || env.submissionID != "z" || env.slots != 5 {
		t.Fatalf("environment is %+v", env)
	}
}

func TestSpec_DescribesTheGraph(t *testing.T) {
	env := GetExecutionEnvironment()
	env.SetParallelism(2)
	env.SetMaxParallelism(64)
	env.EnableCheckpointing(2*time.Second, AtLeastOnce)
	env.SetCheckpointTimeout(time.Minute)
	env.SetNumRetainedCheckpoints(3)
	env.SetStateBackend(MemoryStateBackend{MaxSize: 1000})
	env.SetRestartStrategy(FixedDelayRestart(3, time.Second))
	keyed := KeyByCoPartitioned(numbers(env, "s"), constant)
	Map(keyed, "m", &stateful{names: []string{"count", "other"}}).Print()
	spec, err := env.spec("job")
	if err != nil {
		t.Fatal(err)
	}
	want := &holdfastv1.JobSpec{}
	err = protojson.Unmarshal([]byte(`{
	  "name": "job",
	  "operators": [
	    {"uid": "s", "name": "Source: s", "parallelism": 2, "maxParallelism": 64, "source": {"connector": "datagen", "topics": ["datagen"],
	      "properties": {"splits": "1", "records": "10", "records-per-second": "0", "keys": "1", "seed": "0"}}},
	    {"uid": "m", "name": "Map: m", "parallelism": 2, "maxParallelism": 64,
	      "inputs": [{"operatorUid": "s", "partitioning": "PARTITIONING_CO_PARTITIONED"}],
	      "states": [
	        {"name": "count", "kind": "STATE_KIND_VALUE", "type": "int64", "typeVersion": 2},
	        {"name": "other", "kind": "STATE_KIND_VALUE", "type": "int64", "typeVersion": 2}]},
	    {"uid": "m-print", "name": "Sink: Print", "parallelism": 2, "maxParallelism": 64,
	      "inputs": [{"operatorUid": "m", "partitioning": "PARTITIONING_FORWARD"}]}
	  ],
	  "checkpoint": {"intervalMs": "2000", "mode": "CHECKPOINT_MODE_AT_LEAST_ONCE", "timeoutMs": "60000", "numRetained": 3},
	  "restartStrategy": {"fixedDelay": {"attempts": 3, "delayMs": "1000"}},
	  "stateBackend": {"name": "memory", "memoryMaxSize": "1000"}
	}`), want)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(spec, want) {
		t.Fatalf("spec is %s", protojson.Format(spec))
	}
}

func TestSpec_IsTheSameInEveryProcess(t *testing.T) {
	make := func() *holdfastv1.JobSpec {
		env := GetExecutionEnvironment()
		s := numbers(env, "s")
		s.Print()
		s.Print()
		Map(KeyBy(s, constant), "m", &stateful{names: []string{"a"}}).Print()
		spec, err := env.spec("job")
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	if !proto.Equal(make(), make()) {
		t.Fatal("two processes of one program submit different jobs")
	}
}

func TestRestartStrategies(t *testing.T) {
	if NoRestart().restartStrategy().GetNone() == nil {
		t.Error("NoRestart")
	}
	d := ExponentialDelayRestart(ExponentialDelay{
		InitialBackoff: time.Second, MaxBackoff: time.Minute, BackoffMultiplier: 2,
		ResetBackoffThreshold: time.Hour, JitterFactor: 0.1, AttemptsBeforeResetBackoff: 4,
	}).restartStrategy().GetExponentialDelay()
	if d.GetInitialBackoffMs() != 1000 || d.GetMaxBackoffMs() != 60000 || d.GetBackoffMultiplier() != 2 ||
		d.GetResetBackoffThresholdMs() != 3600000 || d.GetJitterFactor() != 0.1 || d.GetAttemptsBeforeResetBackoff() != 4 {
		t.Errorf("exponential delay is %v", d)
	}
}
