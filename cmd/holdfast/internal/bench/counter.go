package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

// counterUID is the uid of the operator that counts.
const counterUID = "counter"

// counterLine is what the counter says: one line when it begins to measure, one
// with its figures, and then it stays until it is ended.
type counterLine struct {
	Records    float64 `json:"records"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Seconds    float64 `json:"seconds"`
}

// CounterConfig is what the counter can be told.
type CounterConfig struct {
	Job                        string
	Keys                       int64
	Interval, WarmUp, Duration time.Duration
}

// countByKey counts records in one ValueState.
type countByKey struct {
	state   *holdfast.ValueState[int64]
	counted *atomic.Int64
}

// Open implements holdfast.RichFunction.
func (c *countByKey) Open(ctx holdfast.RuntimeContext) (err error) {
	c.state, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[int64]{Name: stateName})
	return err
}

// FlatMap implements holdfast.FlatMapFunction.
func (c *countByKey) FlatMap(_ string, _ holdfast.Collector[string]) error {
	n, err := c.state.Value()
	if err != nil {
		return err
	}
	c.counted.Add(1)
	return c.state.Update(n + 1)
}

// Counter is the operator of Count: it counts generated records by key, tells on
// out what it took, and goes on until ctx ends.
func Counter(ctx context.Context, cfg CounterConfig, out io.Writer) error {
	var counted atomic.Int64
	env := holdfast.GetExecutionEnvironment()
	env.EnableCheckpointing(cfg.Interval)
	env.SetStateBackend(holdfast.MemoryStateBackend{MaxSize: maxStateBytes})
	records := holdfast.FromSource(env, "generator", datagen.NewSource(datagen.Options{Keys: cfg.Keys}),
		func(r holdfast.Record) (string, error) { return string(r.Key), nil })
	holdfast.FlatMap(holdfast.KeyBy(records, func(k string) string { return k }), counterUID, &countByKey{counted: &counted}).Print()
	ended := make(chan error, 1)
	bug.Go(func() { ended <- env.Execute(ctx, cfg.Job) })
	tell := json.NewEncoder(out)
	from, err := after(cfg.WarmUp, ended, &counted)
	if err != nil {
		return err
	}
	if err := tell.Encode(counterLine{}); err != nil {
		return err
	}
	to, err := after(cfg.Duration, ended, &counted)
	if err != nil {
		return err
	}
	if err := tell.Encode(counterLine{
		Records: float64(to.records - from.records), CPUSeconds: (to.cpu - from.cpu).Seconds(), Seconds: to.at.Sub(from.at).Seconds(),
	}); err != nil {
		return err
	}
	return <-ended
}

type reading struct {
	at      time.Time
	records int64
	cpu     time.Duration
}

// after waits and reads the counters; the job must not end meanwhile.
func after(d time.Duration, ended <-chan error, counted *atomic.Int64) (reading, error) {
	select {
	case err := <-ended:
		return reading{}, fmt.Errorf("the job ended: %w", err)
	case <-time.After(d):
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return reading{}, err
	}
	return reading{time.Now(), counted.Load(), time.Duration(u.Utime.Nano() + u.Stime.Nano())}, nil
}
