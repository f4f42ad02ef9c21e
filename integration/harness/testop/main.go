package testop

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/integration/harness"
)

// Main is the TestMain of packages that start operators.
func Main(m *testing.M) {
	if os.Getenv(harness.EnvGuard) != "" {
		harness.GuardMain()
		os.Exit(0)
	}
	if raw := os.Getenv(harness.EnvOperator); raw != "" {
		if err := fromEnv(raw); err != nil {
			fmt.Fprintln(os.Stderr, "operator ended:", err)
			os.Exit(holdfast.ExitCode(err))
		}
		os.Exit(0)
	}
	os.Exit(harness.Run(m))
}

func fromEnv(raw string) error {
	var cfg harness.OperatorConfig
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		return err
	}
	return Run(context.Background(), cfg)
}

// Run executes the job until it ends or ctx does.
func Run(ctx context.Context, cfg harness.OperatorConfig, options ...holdfast.Option) error {
	if cfg.Slots > 0 {
		options = append(options, holdfast.WithTaskSlots(cfg.Slots))
	}
	env := holdfast.GetExecutionEnvironment(options...)
	env.SetParallelism(cfg.Parallelism)
	if cfg.CheckpointMs > 0 {
		mode := holdfast.ExactlyOnce
		if cfg.AtLeastOnce {
			mode = holdfast.AtLeastOnce
		}
		env.EnableCheckpointing(time.Duration(cfg.CheckpointMs)*time.Millisecond, mode)
		env.SetNumRetainedCheckpoints(cfg.Retained)
		env.SetTolerableCheckpointFailureNumber(cfg.Tolerable)
		if cfg.TimeoutMs > 0 {
			env.SetCheckpointTimeout(time.Duration(cfg.TimeoutMs) * time.Millisecond)
		}
	}
	setBackend(env, cfg)
	setStorage(env, cfg)
	if err := setRestart(env, cfg.Restart); err != nil {
		return err
	}
	records := holdfast.FromSource(env, harness.OperatorSource, &feed{cfg: cfg}, deserialize)
	keyBy := holdfast.KeyBy[string, record]
	if cfg.Generation > 0 {
		records = holdfast.FlatMap(records, harness.OperatorStateUID, &keeper{cfg: cfg})
	}
	if (cfg.Parallelism > 1 || cfg.CoPartitioned) && !cfg.ForgottenKeyBy {
		keyBy = holdfast.KeyByCoPartitioned[string, record]
	}
	keyed := keyBy(records, func(r record) string { return r.Key })
	if cfg.ValueBytes > 0 {
		holdfast.FlatMap(keyed, harness.OperatorUID, &filler{cfg: cfg})
		return env.Execute(ctx, cfg.Job)
	}
	if cfg.Kinds {
		holdfast.FlatMap(keyed, harness.OperatorUID, &kinds{})
		return env.Execute(ctx, cfg.Job)
	}
	counted := holdfast.FlatMap(keyed, cmp.Or(cfg.UID, harness.OperatorUID), &counter{cfg: cfg})
	if cfg.Print {
		counted.Print()
	}
	return env.Execute(ctx, cfg.Job)
}

func setBackend(env *holdfast.StreamExecutionEnvironment, cfg harness.OperatorConfig) {
	switch {
	case cfg.StateBackend != "":
		env.SetStateBackend(holdfast.NamedStateBackend{Name: cfg.StateBackend})
		if !cfg.Configured {
			env.EnableIncrementalCheckpoints(cfg.Incremental)
		}
	case !cfg.Configured:
		env.SetStateBackend(holdfast.MemoryStateBackend{MaxSize: cfg.MaxBytes})
	}
}

func setStorage(env *holdfast.StreamExecutionEnvironment, cfg harness.OperatorConfig) {
	if cfg.Directory == "" {
		return
	}
	env.SetCheckpointStorage(cfg.Directory)
	if cfg.InlineBytes > 0 {
		env.SetDataInlineThreshold(cfg.InlineBytes)
	}
	if cfg.Retain {
		env.SetExternalizedCheckpointRetention(holdfast.RetainOnCancellation)
	}
}

func setRestart(env *holdfast.StreamExecutionEnvironment, text string) error {
	var numbers []int
	name, rest, _ := strings.Cut(text, ":")
	for _, w := range strings.FieldsFunc(rest, func(r rune) bool { return r == ':' }) {
		n, err := strconv.Atoi(w)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	ms := func(i int) time.Duration { return time.Duration(numbers[i]) * time.Millisecond }
	switch {
	case name == "":
	case name == "none":
		env.SetRestartStrategy(holdfast.NoRestart())
	case name == "fixed-delay" && len(numbers) == 2:
		env.SetRestartStrategy(holdfast.FixedDelayRestart(uint32(numbers[0]), ms(1)))
	case name == "exponential-delay" && len(numbers) == 3:
		env.SetRestartStrategy(holdfast.ExponentialDelayRestart(holdfast.ExponentialDelay{
			InitialBackoff: ms(0), MaxBackoff: ms(1), BackoffMultiplier: 2, ResetBackoffThreshold: time.Hour, AttemptsBeforeResetBackoff: uint32(numbers[2]),
		}))
	default:
		return fmt.Errorf("unknown restart strategy %q", text)
	}
	return nil
}

// counter counts the records of its key.
type counter struct {
	cfg   harness.OperatorConfig
	count *holdfast.ValueState[int64]
	head  *os.File
}

// Open declares the state.
func (c *counter) Open(ctx holdfast.RuntimeContext) (err error) {
	c.count, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[int64]{Name: harness.OperatorState})
	if err == nil && c.cfg.HeadFile {
		c.head, err = os.OpenFile(harness.HeadName, os.O_CREATE|os.O_WRONLY, 0o644)
	}
	return err
}

// FlatMap counts one record.
func (c *counter) FlatMap(r record, out holdfast.Collector[string]) error {
	if err := c.misbehave(r); err != nil {
		return err
	}
	n, err := c.count.Value()
	if err != nil {
		return err
	}
	n++
	out.Collect(fmt.Sprintf("%d %d %s %d", r.Partition, r.Offset, r.Key, n))
	if err := c.count.Update(n); err != nil {
		return err
	}
	return c.showHead(r)
}

// showHead writes how far this process has come.
func (c *counter) showHead(r record) error {
	if c.head == nil || r.Partition != 0 {
		return nil
	}
	_, err := c.head.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(r.Offset+1)), 0)
	return err
}

// misbehave fails or hangs as it is told.
func (c *counter) misbehave(r record) error {
	for c.cfg.StallFile != "" && exists(c.cfg.StallFile) {
		<-time.After(5 * time.Millisecond)
	}
	if c.cfg.FailFile == "" || r.Partition != 0 || r.Offset != c.cfg.FailAt {
		return nil
	}
	raw, err := os.ReadFile(c.cfg.FailFile)
	if err != nil {
		return err
	}
	left, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || left <= 0 {
		return err
	}
	if err := os.WriteFile(c.cfg.FailFile, []byte(strconv.Itoa(left-1)), 0o644); err != nil {
		return err
	}
	return errors.New("the record is poison")
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// filler keeps large values, to fill the state.
type filler struct {
	cfg   harness.OperatorConfig
	value *holdfast.ValueState[[]byte]
}

// Open declares the state.
func (f *filler) Open(ctx holdfast.RuntimeContext) (err error) {
	f.value, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[[]byte]{Name: harness.OperatorState})
	return err
}

// FlatMap keeps one value.
func (f *filler) FlatMap(r record, _ holdfast.Collector[string]) error {
	return f.value.Update(harness.RecordValue(f.cfg.Seed, r.Partition, r.Offset, f.cfg.ValueBytes))
}
