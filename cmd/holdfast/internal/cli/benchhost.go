package cli

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bench"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

// perSecond and cpu are cells of a spread: the median, and the least and the most.
func perSecond(s bench.Spread) string {
	return fmt.Sprintf("%.2f M (%.2f to %.2f)", s.Median/1e6, s.Min/1e6, s.Max/1e6)
}

func spread(s bench.Spread) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Median, s.Min, s.Max)
}

func (a *app) benchPathCommand() *cobra.Command {
	f := bench.PathConfig{Backends: []string{"filesystem", "rocksdb"}}
	cmd := &cobra.Command{
		Use: "path", Short: "Read, change and write batches of keys of state on a host, as fast as it goes", Args: exactly(),
		Long: `Each slot reads 1,024 keys over its stream, adds 1 to each, writes them, and goes
on: there is no working copy. One node hosts the state. The backends take turns,
round by round, with Pebble inside this process, which has the options of rocksdb
and the same batches. In the end every key is read and compared.`,
		Example: "  holdfast bench path\n  holdfast bench path --keys 10000000 --cache-mb 40 --backends rocksdb --rounds 3",
	}
	cacheMB := int64(256)
	cmd.Flags().IntVar(&f.Keys, "keys", 1_000_000, "number of keys, shared among the slots")
	cmd.Flags().IntVar(&f.Slots, "slots", min(runtime.NumCPU(), 2), "streams, and as many trees of Pebble")
	cmd.Flags().Int64Var(&cacheMB, "cache-mb", cacheMB, "MiB that rocksdb takes for its caches, and Pebble as well")
	cmd.Flags().IntVar(&f.Rounds, "rounds", 5, "of each backend; one more goes before them")
	cmd.Flags().IntVar(&f.Batches, "batches", 150, "of each slot in a round; of filesystem eight times as many")
	cmd.Flags().StringSliceVar(&f.Backends, "backends", f.Backends, "that take turns")
	cmd.Flags().BoolVar(&f.Peer, "pebble", true, "Pebble inside this process, too")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("slots", f.Slots, 1, 64), within("keys", f.Keys, 1024*f.Slots, 100_000_000), within("cache-mb", cacheMB, 1, 1<<20),
			within("rounds", f.Rounds, 1, 1000), within("batches", f.Batches, 1, 100_000)); err != nil {
			return err
		}
		f.CacheBytes = cacheMB << 20
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.Path(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"STATE IN", "READ-MODIFY-WRITES/S", "CPU S/M HERE", "CPU S/M NODE"}}
			for _, p := range r.Peers {
				t.Add(p.Name, perSecond(p.PerSecond), spread(p.ClientCPU), spread(p.HostCPU))
			}
			after := []string{"", fmt.Sprintf("%d keys, %d slots, batches of %d, a cache of %s; median of %d rounds (least to most)",
				r.Keys, r.Slots, r.Batch, render.Bytes(uint64(r.CacheBytes)), f.Rounds)}
			if r.RocksDBToPebble != nil {
				after = append(after, fmt.Sprintf("rocksdb over the stream to Pebble embedded: %s of its rate, %s by processor time", spread(*r.RocksDBToPebble), spread(*r.RocksDBToPebbleCPU)))
			}
			return a.printBench(r.Machine, r, t, after...)
		})
	})
	return cmd
}

func (a *app) benchMapCommand() *cobra.Command {
	var f bench.MapPeerConfig
	cmd := &cobra.Command{
		Use: "map", Short: "Count a generated source with checkpoints, beside the same loop on a plain map", Args: exactly(),
		Long: `One operator process counts by key: a job on the filesystem backend with its working
copy and incremental checkpoints, and by turns with it the same source in the same
loop on a map of Go, without checkpoints. In the end every key of the job is read
from the node and compared with what the generator gives.`,
		Example: "  holdfast bench map --keys 100000,1000000",
	}
	cmd.Flags().Int64SliceVar(&f.Keys, "keys", []int64{100_000, 1_000_000}, "numbers of keys, one measurement each")
	cmd.Flags().DurationVar(&f.Interval, "interval", time.Second, "time between checkpoints")
	cmd.Flags().DurationVar(&f.WarmUp, "warm-up", 5*time.Second, "first turn of each, which does not count")
	cmd.Flags().DurationVar(&f.Duration, "duration", 2*time.Second, "of a turn; 10 min at most")
	cmd.Flags().IntVar(&f.Rounds, "rounds", 5, "turns of each")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		errs := []error{within("interval", f.Interval, 10*time.Millisecond, time.Minute), within("warm-up", f.WarmUp, time.Second, longestBench),
			within("duration", f.Duration, time.Second, longestBench), within("rounds", f.Rounds, 1, 1000)}
		for _, k := range f.Keys {
			errs = append(errs, within("keys", k, 1, 2_000_000))
		}
		if err := firstError(errs...); err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		f.Operator = []string{self, "bench", "map-counter"}
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.BesideMap(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"KEYS", "RECORDS/S", "PLAIN MAP", "RATIO", "CPU S/M", "CPU S/M NODE", "CPU S/M PLAIN", "COUNTED AND COMPARED"}}
			for _, x := range r.Rows {
				t.Add(x.Keys, perSecond(x.PerSecond), perSecond(x.PlainPerSecond), spread(x.Ratio), spread(x.CPU), spread(x.NodeCPU), spread(x.PlainCPU), x.Counted)
			}
			return a.printBench(r.Machine, r, t)
		})
	})
	return cmd
}

// benchMapCounterCommand is the operator process of `bench map`.
func (a *app) benchMapCounterCommand() *cobra.Command {
	var f bench.PlainMapConfig
	cmd := &cobra.Command{Use: "map-counter", Hidden: true, Short: "The operator of bench map", Args: exactly()}
	cmd.Flags().StringVar(&f.Job, "job", "", "name of the job")
	cmd.Flags().StringVar(&f.Directory, "directory", "", "of its checkpoints")
	cmd.Flags().Int64Var(&f.Keys, "keys", 100_000, "number of keys")
	cmd.Flags().DurationVar(&f.Interval, "interval", time.Second, "time between checkpoints")
	cmd.Flags().DurationVar(&f.WarmUp, "warm-up", 5*time.Second, "first turn of each")
	cmd.Flags().DurationVar(&f.Duration, "duration", 2*time.Second, "of a turn")
	cmd.Flags().IntVar(&f.Rounds, "rounds", 5, "turns of each")
	cmd.Flags().IntVar(&f.NodePid, "node-pid", 0, "process of the node")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error { return bench.CounterBesideMap(ctx, f, a.stdout) })
	return cmd
}
