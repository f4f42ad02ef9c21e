package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// testEnv talks to the addresses and is quiet.
func testEnv(addresses ...string) *holdfast.StreamExecutionEnvironment {
	return holdfast.GetExecutionEnvironment(
		holdfast.WithAddresses(addresses...), holdfast.WithLogger(slog.New(slog.DiscardHandler)))
}

func offsets(env *holdfast.StreamExecutionEnvironment, o datagen.Options) *holdfast.DataStream[int64] {
	return holdfast.FromSource(env, "source", datagen.NewSource(o), func(r holdfast.Record) (int64, error) { return r.Offset, nil })
}

// execute runs the job in the background.
func execute(t *testing.T, env *holdfast.StreamExecutionEnvironment) chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- env.Execute(ctx, "job") }()
	t.Cleanup(cancel)
	return done
}

func result(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(faketest.Patience):
		t.Fatal("Execute did not return")
		return nil
	}
}

func TestExecute_ReturnsHowTheJobEnded(t *testing.T) {
	for _, c := range []struct {
		status holdfastv1.JobStatus
		failed bool
	}{
		{holdfastv1.JobStatus_JOB_STATUS_FINISHED, false},
		{holdfastv1.JobStatus_JOB_STATUS_FAILED, true},
		{holdfastv1.JobStatus_JOB_STATUS_CANCELED, true},
	} {
		t.Run(c.status.String(), func(t *testing.T) {
			h := faketest.NewHost(t)
			env := testEnv(h.Address)
			offsets(env, datagen.Options{}).PrintTo(&syncBuffer{})
			done := execute(t, env)
			h.AcceptWelcome().JobEnded(c.status)
			var ended *holdfast.JobError
			err := result(t, done)
			if errors.As(err, &ended) != c.failed || c.failed && ended.Status != c.status || !c.failed && err != nil {
				t.Fatalf("Execute returned %v", err)
			}
			if want := "the job ended: " + strings.TrimPrefix(c.status.String(), "JOB_STATUS_"); c.failed && err.Error() != want {
				t.Fatalf("it says %q, want %q", err, want)
			}
		})
	}
}

func TestExecute_SubmitIsTriedAgainWhileUnavailable(t *testing.T) {
	h := faketest.NewHost(t)
	answers := make(chan error, 2)
	answers <- status.Error(codes.Unavailable, "no leader")
	answers <- nil
	h.Answer = func(*holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
		return &holdfastv1.SubmitResponse{JobId: "id"}, <-answers
	}
	env := testEnv("127.0.0.1:1", h.Address)
	offsets(env, datagen.Options{}).PrintTo(&syncBuffer{})
	done := execute(t, env)
	s := h.AcceptWelcome()
	if s.Hello.GetJobId() != "id" {
		t.Fatalf("Hello is %v", s.Hello)
	}
	s.JobEnded(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	if err := result(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestExecute_ARefusedSubmissionEndsTheProgram(t *testing.T) {
	h := faketest.NewHost(t)
	h.Answer = func(*holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
		return nil, faketest.Status(codes.AlreadyExists, "JOB_TERMINATED")
	}
	env := testEnv(h.Address)
	offsets(env, datagen.Options{}).PrintTo(&syncBuffer{})
	var refused *holdfast.StatusError
	err := result(t, execute(t, env))
	if !errors.As(err, &refused) || refused.Reason != holdfastv1.ErrorReason_ERROR_REASON_JOB_TERMINATED {
		t.Fatalf("Execute returned %v", err)
	}
	if code := holdfast.ExitCode(err); code != holdfast.ExitRefused {
		t.Errorf("the exit code is %d", code)
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {context.Canceled, 1}, {&holdfast.JobError{Status: holdfastv1.JobStatus_JOB_STATUS_FAILED}, 1},
		// Of a stream, not of the job.
		{&holdfast.StatusError{Reason: holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION, Metadata: map[string]string{"outcome": "final"}}, 1},
	} {
		if got := holdfast.ExitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// A specification that no node would read: the client says so itself, since the
// transport of a node could only say that it is too long.
func TestExecute_ASpecificationAboveAMessageIsNotSent(t *testing.T) {
	h := faketest.NewHost(t)
	h.Answer = func(*holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
		t.Error("it was sent")
		return nil, faketest.Status(codes.Internal, "INTERNAL")
	}
	env := testEnv(h.Address)
	holdfast.FromSource(env, "source", large{datagen.NewSource(datagen.Options{})}, func(r holdfast.Record) (int64, error) { return r.Offset, nil }).PrintTo(&syncBuffer{})
	var refused *holdfast.StatusError
	err := result(t, execute(t, env))
	const want = `submit "job": VALUE_TOO_LARGE: a message SubmitRequest has 9437`
	if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), want) ||
		!strings.HasSuffix(err.Error(), " bytes, at most 4194304 are allowed; let the program read large settings itself") {
		t.Fatalf("got  %.200v\nwant %s...", err, want)
	}
}

// large is a source with a property of 9 MiB.
type large struct{ source.Source }

func (l large) Spec() (source.Spec, error) {
	spec, err := l.Source.Spec()
	spec.Properties = map[string]string{"big": strings.Repeat("x", 9<<20)}
	return spec, err
}

func TestExecute_OneStreamForEachSlot(t *testing.T) {
	h := faketest.NewHost(t)
	env := testEnv(h.Address)
	env.SetParallelism(3)
	offsets(env, datagen.Options{Splits: 3}).PrintTo(&syncBuffer{})
	done := execute(t, env)
	instances, processes := map[string]bool{}, map[string]bool{}
	var last *faketest.Stream
	for range 3 {
		last = h.AcceptWelcome()
		instances[last.Hello.GetInstanceId()] = true
		processes[last.Hello.GetProcessId()] = true
	}
	if len(instances) != 3 || len(processes) != 1 {
		t.Fatalf("%d instances of %d processes", len(instances), len(processes))
	}
	// The end of the job on one stream ends them all.
	last.JobEnded(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	if err := result(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestExecute_StopsWithItsContext(t *testing.T) {
	h := faketest.NewHost(t)
	env := testEnv(h.Address)
	offsets(env, datagen.Options{}).PrintTo(&syncBuffer{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- env.Execute(ctx, "job") }()
	h.AcceptWelcome()
	cancel()
	if err := result(t, done); !errors.Is(err, context.Canceled) {
		t.Fatalf("Execute returned %v", err)
	}
}

// finish runs a bounded job on a cluster without faults and returns its lines.
func finish(t *testing.T, env *holdfast.StreamExecutionEnvironment, c *faketest.Cluster, out *syncBuffer) []string {
	t.Helper()
	if err := result(t, execute(t, env)); err != nil {
		t.Fatalf("Execute: %v", err)
	}
	return out.lines()
}

func calm(t *testing.T, splits int) *faketest.Cluster {
	c := faketest.NewCluster(t, 1, 1)
	for i := range splits {
		c.Splits = append(c.Splits, &holdfastv1.Split{Topic: "datagen", Partition: uint32(i), StartOffset: new(int64(0))})
	}
	return c
}

func TestOperators_ChainOfAll(t *testing.T) {
	c := calm(t, 1)
	env, out := testEnv(c.Addresses...), &syncBuffer{}
	even := holdfast.Filter(offsets(env, datagen.Options{Records: 6}), "even",
		holdfast.FilterFunc[int64](func(v int64) (bool, error) { return v%2 == 0, nil }))
	twice := holdfast.FlatMap(even, "twice", holdfast.FlatMapFunc[int64, int64](func(v int64, out holdfast.Collector[int64]) error {
		out.Collect(v)
		out.Collect(v)
		return nil
	}))
	keyed := holdfast.KeyBy(twice, func(v int64) int64 { return v })
	sum := holdfast.Process(keyed, "sum", &sums{})
	holdfast.Map(sum, "text", holdfast.MapFunc[int64, string](func(v int64) (string, error) {
		return fmt.Sprintf("sum:%d", v), nil
	})).PrintTo(out)
	even.PrintTo(out)
	// How the branches interleave depends on the batches; each has its order.
	var sums, evens []string
	for _, line := range finish(t, env, c, out) {
		if strings.HasPrefix(line, "sum:") {
			sums = append(sums, line)
		} else {
			evens = append(evens, line)
		}
	}
	if got := strings.Join(sums, " "); got != "sum:0 sum:0 sum:2 sum:4 sum:4 sum:8" {
		t.Errorf("one branch is %q", got)
	}
	if got := strings.Join(evens, " "); got != "0 2 4" {
		t.Errorf("the other branch is %q", got)
	}
}

// sums adds the key for each value, in a state that is a JSON value.
type sums struct {
	state *holdfast.ValueState[map[string]int64]
	text  *holdfast.ValueState[string]
}

func (s *sums) Open(ctx holdfast.RuntimeContext) (err error) {
	if s.state, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[map[string]int64]{
		Name: "sums", Default: map[string]int64{"sum": 0},
	}); err != nil {
		return err
	}
	s.text, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[string]{Name: "text"})
	return err
}

func (s *sums) ProcessElement(_ int64, key int64, out holdfast.Collector[int64]) error {
	v, err := s.state.Value()
	if err != nil {
		return err
	}
	// What is changed without an Update changes no state, and not the default.
	v["sum"] += key
	again, err := s.state.Value()
	if err != nil || again["sum"] != v["sum"]-key {
		return fmt.Errorf("a value shares memory with the state: %v, %w", again, err)
	}
	if err := s.state.Update(v); err != nil {
		return err
	}
	if err := s.text.Update("x"); err != nil {
		return err
	}
	if err := s.text.Clear(); err != nil {
		return err
	}
	if t, err := s.text.Value(); err != nil || t != "" {
		return fmt.Errorf("a cleared state is %q, %w", t, err)
	}
	out.Collect(v["sum"])
	return nil
}

func TestState_CoPartitionedKeysBelongToTheirPartition(t *testing.T) {
	c := calm(t, 2)
	c.CoPartitioned = true
	env, out := testEnv(c.Addresses...), &syncBuffer{}
	s := offsets(env, datagen.Options{Records: 3, Splits: 2})
	holdfast.FlatMap(holdfast.KeyByCoPartitioned(holdfast.Map(s, "same", holdfast.MapFunc[int64, string](
		func(int64) (string, error) { return "k", nil })), func(k string) string { return k }), "count", &counter{}).PrintTo(out)
	finish(t, env, c, out)
	got := map[string]bool{}
	for k, v := range c.Final.State {
		got[fmt.Sprintf("%s=%d", k, v[0])] = true
	}
	if fmt.Sprint(got) != "map[1/0/k=3:true 1/1/k=3:true]" {
		t.Fatalf("state is %v", got)
	}
}

// misuse keeps its state and uses it outside of a record.
type misuse struct {
	counter
}

func (m *misuse) Open(ctx holdfast.RuntimeContext) error {
	if err := m.counter.Open(ctx); err != nil {
		return err
	}
	if _, err := m.count.Value(); err == nil {
		return errors.New("state could be read in Open")
	}
	return nil
}

func TestState_OnlyWhileARecordIsProcessed(t *testing.T) {
	c := calm(t, 1)
	env, out := testEnv(c.Addresses...), &syncBuffer{}
	s := holdfast.Map(offsets(env, datagen.Options{Records: 1}), "text", holdfast.MapFunc[int64, string](
		func(v int64) (string, error) { return fmt.Sprint(v), nil }))
	holdfast.FlatMap(holdfast.KeyBy(s, func(k string) string { return k }), "count", &misuse{}).PrintTo(out)
	if got := finish(t, env, c, out); fmt.Sprint(got) != "[0=1]" {
		t.Fatalf("output %v", got)
	}
}

var _ source.Source = (*datagen.Source)(nil)
