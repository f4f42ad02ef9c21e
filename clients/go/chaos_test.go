package holdfast_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// counter counts the records of a key, and those of a second key that depends
// on the count, which no Get could ask for ahead.
type counter struct {
	count *holdfast.ValueState[int64]
}

func (c *counter) Open(ctx holdfast.RuntimeContext) (err error) {
	c.count, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[int64]{Name: "count"})
	return err
}

func (c *counter) FlatMap(key string, out holdfast.Collector[string]) error {
	n, err := c.count.Value()
	if err != nil {
		return err
	}
	out.Collect(fmt.Sprintf("%s=%d", key, n+1))
	return c.count.Update(n + 1)
}

// split tells which digit a line ends with: the key of the second operator.
func lastDigit(line string) string { return line[len(line)-1:] }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Fields(s.b.String())
}

var chaosOptions = datagen.Options{Splits: 2, Records: 3000, Keys: 40, Seed: 9, RecordsPerSecond: 6000}

// chaosJob runs the job in one process.
func chaosJob(ctx context.Context, c *faketest.Cluster, out *syncBuffer) error {
	env := holdfast.GetExecutionEnvironment(
		holdfast.WithAddresses(c.Addresses...), holdfast.WithLogger(slog.New(slog.DiscardHandler)))
	env.SetWorkingCopySize(10000)
	if c.Checkpoints {
		env.EnableCheckpointing(time.Second)
	}
	keys := holdfast.FromSource(env, "source", datagen.NewSource(chaosOptions), func(r holdfast.Record) (string, error) {
		return string(r.Key), nil
	})
	same := func(v string) string { return v }
	first := holdfast.FlatMap(holdfast.KeyBy(keys, same), "by-key", &counter{})
	second := holdfast.FlatMap(holdfast.KeyBy(first, lastDigit), "by-digit", &counter{})
	second.PrintTo(out)
	return env.Execute(ctx, "chaos")
}

// expected folds the records before the positions, in their order of arrival,
// which for counts does not matter.
func expected(t *testing.T, positions []*holdfastv1.Position) map[string]int64 {
	t.Helper()
	want := map[string]int64{}
	o := chaosOptions
	o.RecordsPerSecond = 0
	for _, p := range positions {
		r, err := datagen.NewSource(o).Open(t.Context(), source.OpenOptions{Splits: []source.Split{{Partition: p.GetPartition()}}})
		if err != nil {
			t.Fatal(err)
		}
		for read := int64(0); read < p.GetNextOffset(); {
			var b source.Batch
			if err := r.Poll(t.Context(), &b, int(min(p.GetNextOffset()-read, 1000))); err != nil && b.Len() == 0 {
				t.Fatal(err)
			}
			for i := range b.Len() {
				key := string(b.Key(i))
				want["1/"+key]++
				want["2/"+lastDigit(fmt.Sprint(want["1/"+key]))]++
			}
			read += int64(b.Len())
		}
	}
	// The second operator's keys are what the first one emits.
	return want
}

func compare(t *testing.T, what string, v faketest.Version) {
	t.Helper()
	got := map[string]int64{}
	for k, b := range v.State {
		got[k] = int64(binary.LittleEndian.Uint64([]byte(b)))
	}
	if want := expected(t, v.Positions); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: state differs from the fold of the records before %v:\n got %v\nwant %v", what, v.Positions, got, want)
	}
}

func newChaos(t *testing.T, seed uint64, faults faketest.Faults) *faketest.Cluster {
	c := faketest.NewCluster(t, 3, seed)
	c.Faults = faults
	for i := range chaosOptions.Splits {
		c.Splits = append(c.Splits, &holdfastv1.Split{Topic: "datagen", Partition: uint32(i), StartOffset: new(int64(0))})
	}
	return c
}

// TestChaos_EveryCheckpointIsTheFoldOfItsPositions breaks streams, loses
// answers, aborts checkpoints and moves the subtask between two processes.
func TestChaos_EveryCheckpointIsTheFoldOfItsPositions(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, seed, faketest.Faults{Lose: 0.01, LoseAnswer: 0.01, FenceOwn: 0.005, HoldAck: 0.4, Abort: 0.2, Reassign: 0.05})
			finishChaos(t, c, time.Minute, chaosJob, compare)
		})
	}
}

// finishChaos runs a job as two processes to its end, and compares every checkpoint
// and the end with what they must be.
func finishChaos(t *testing.T, c *faketest.Cluster, limit time.Duration, job func(context.Context, *faketest.Cluster, *syncBuffer) error, compare func(*testing.T, string, faketest.Version)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := job(ctx, c, &syncBuffer{}); err != nil {
				t.Errorf("Execute: %v", err)
			}
		})
	}
	wg.Wait()
	if c.Final == nil {
		t.Fatal("the job did not finish")
	}
	for id, v := range c.Versions() {
		compare(t, fmt.Sprintf("checkpoint %d", id), v)
	}
	compare(t, "the end", *c.Final)
	t.Logf("%d resumes, %d assignments, %d checkpoints, %d breaks", c.Resumes, c.Assigns, c.Completed, c.Breaks)
}

// TestChaos_OutputIsSeenOnceWithoutCheckpoints breaks streams and loses answers;
// each line must be there once, in the order of its key.
func TestChaos_OutputIsSeenOnceWithoutCheckpoints(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, seed, faketest.Faults{Lose: 0.01, LoseAnswer: 0.01, FenceOwn: 0.005, HoldAck: 0.4})
			c.Checkpoints = false
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out := &syncBuffer{}
			if err := chaosJob(ctx, c, out); err != nil {
				t.Fatalf("Execute: %v", err)
			}
			compare(t, "the end", *c.Final)
			lines := out.lines()
			if want := chaosOptions.Splits * int(chaosOptions.Records); len(lines) != want {
				t.Errorf("%d lines, want %d", len(lines), want)
			}
			counts := map[string]int{}
			for _, line := range lines {
				key, n, _ := cutLast(line)
				counts[key]++
				if n != fmt.Sprint(counts[key]) {
					t.Fatalf("line %q is number %d of its key", line, counts[key])
				}
			}
			t.Logf("%d resumes, %d breaks", c.Resumes, c.Breaks)
		})
	}
}

// cutLast takes the second operator's count off: "key=3=17" counts "key=3".
func cutLast(line string) (key, n string, ok bool) {
	i := strings.LastIndexByte(line, '=')
	return lastDigit(line[:i]), line[i+1:], i > 0
}
