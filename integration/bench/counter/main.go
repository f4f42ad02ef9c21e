// Command counter is the operator of the counter benchmark: it counts generated
// records by key in one ValueState and prints, at its end, one JSON line with
// the records and the CPU seconds it took.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
)

// counted is read by the reporter while the operator counts.
var counted atomic.Int64

type count struct{ state *holdfast.ValueState[int64] }

func (c *count) Open(ctx holdfast.RuntimeContext) (err error) {
	c.state, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[int64]{Name: "count"})
	return err
}

func (c *count) FlatMap(_ string, _ holdfast.Collector[string]) error {
	n, err := c.state.Value()
	if err != nil {
		return err
	}
	counted.Add(1)
	return c.state.Update(n + 1)
}

func main() {
	keys := flag.Int64("keys", 100_000, "number of keys")
	interval := flag.Duration("checkpoint-interval", time.Second, "0 disables checkpoints")
	warm := flag.Duration("warm-up", 5*time.Second, "time before the measurement begins")
	measure := flag.Duration("measure", 15*time.Second, "time of the measurement")
	job := flag.String("job", "counter", "name of the job")
	flag.Parse()
	if err := run(*keys, *interval, *warm, *measure, *job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(keys int64, interval, warm, measure time.Duration, job string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	env := holdfast.GetExecutionEnvironment()
	if interval > 0 {
		env.EnableCheckpointing(interval)
	}
	env.SetStateBackend(holdfast.MemoryStateBackend{MaxSize: 64 << 20})
	records := holdfast.FromSource(env, "generator", datagen.NewSource(datagen.Options{Keys: keys}),
		func(r holdfast.Record) (string, error) { return string(r.Key), nil })
	holdfast.FlatMap(holdfast.KeyBy(records, func(k string) string { return k }), "counter", &count{}).Print()
	ended := make(chan error, 1)
	go func() { ended <- env.Execute(ctx, job) }()
	from, err := after(warm, ended)
	if err != nil {
		return err
	}
	fmt.Println(`{"measuring":true}`)
	to, err := after(measure, ended)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"records": float64(to.records - from.records), "cpu_seconds": (to.cpu - from.cpu).Seconds(), "seconds": to.at.Sub(from.at).Seconds(),
	})
}

type reading struct {
	at      time.Time
	records int64
	cpu     time.Duration
}

// after waits and reads the counters; the job must not end meanwhile.
func after(d time.Duration, ended <-chan error) (reading, error) {
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
