package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bench"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

func (a *app) benchCutsCommand() *cobra.Command {
	var f bench.CutsConfig
	cmd := &cobra.Command{
		Use: "cuts", Short: "Checkpoints of state on a host under full load, and restores", Args: exactly(),
		Long: `Works on the state of one subtask in this process, as its host does: batches of 1,024
keys are read and written all the time, and each checkpoint is cut when every key of
another set has changed, and written to a directory while the next set changes. The
changes of rocksdb go to Pebble embedded too, for the bytes of the tables that it
writes anew. In the end every key is compared, and so it is after each restore.`,
		Example: "  holdfast bench cuts --keys 1000000 --dirty 100000",
	}
	fs, rocks := 100, 10
	cmd.Flags().IntVar(&f.Keys, "keys", 1_000_000, "number of keys")
	cmd.Flags().IntVar(&f.Dirty, "dirty", 100_000, "keys that change between two checkpoints")
	cmd.Flags().IntVar(&fs, "filesystem", fs, "checkpoints of that backend; 0 leaves it out")
	cmd.Flags().IntVar(&rocks, "rocksdb", rocks, "checkpoints of that backend; 0 leaves it out")
	cmd.Flags().IntVar(&f.Restores, "restores", 5, "of the last checkpoint, each into a new state")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("keys", f.Keys, 2048, 100_000_000), within("dirty", f.Dirty, 1024, f.Keys/2), within("filesystem", fs, 0, 10_000),
			within("rocksdb", rocks, 0, 10_000), within("restores", f.Restores, 1, 100)); err != nil {
			return err
		}
		f.CacheBytes, f.Checkpoints = 256<<20, map[string]int{}
		for name, n := range map[string]int{"filesystem": fs, "rocksdb": rocks} {
			if n > 0 {
				f.Checkpoints[name] = n
			}
		}
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.Cuts(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"STATE IN", "CUTS", "PAUSE P50", "P99", "MAX", "BATCH P99", "MAX", "WRITTEN/DIRTY", "WRITTEN/PEBBLE'S", "RESTORED/S", "RESTORED/CORE-S"}}
			us := func(v float64) string { return fmt.Sprintf("%.0f µs", v) }
			for _, x := range r.Rows {
				peer := "-"
				if x.WrittenToPebble > 0 {
					peer = fmt.Sprintf("%.2f", x.WrittenToPebble)
				}
				t.Add(x.Name, x.Checkpoints, us(x.Pause.P50), us(x.Pause.P99), us(x.Pause.Max), us(x.Batch.P99), us(x.Batch.Max),
					fmt.Sprintf("%.2f (%.2f to %.2f)", x.WrittenToDirty, x.EachToDirty.Min, x.EachToDirty.Max), peer, perSecond(x.RestorePerSecond), perSecond(x.RestorePerCoreSecond))
			}
			return a.printBench(r.Machine, r, t, "", fmt.Sprintf("%d keys, of which %d change between two checkpoints", r.Keys, r.Dirty))
		})
	})
	return cmd
}

func (a *app) benchSavepointCommand() *cobra.Command {
	var f bench.SavepointConfig
	cmd := &cobra.Command{
		Use: "savepoint", Short: "Memory of a node that writes a savepoint of much state", Args: exactly(),
		Long: `One node hosts the state of one subtask and writes a savepoint of it; its anonymous
memory is read every 10 ms. In the end every entry of the savepoint is compared.`,
		Example: "  holdfast bench savepoint --keys 10000000 --backend rocksdb",
	}
	cacheMB := int64(256)
	cmd.Flags().IntVar(&f.Keys, "keys", 10_000_000, "number of keys")
	cmd.Flags().StringVar(&f.Backend, "backend", "filesystem", "of the job")
	cmd.Flags().Int64Var(&cacheMB, "cache-mb", cacheMB, "MiB that rocksdb takes for its caches")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("keys", f.Keys, 1024, 100_000_000), within("cache-mb", cacheMB, 1, 1<<20)); err != nil {
			return err
		}
		f.CacheBytes = cacheMB << 20
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.Savepoint(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"STATE IN", "KEYS", "BEFORE", "PEAK", "GROWTH", "SAVEPOINT", "SECONDS"}}
			t.Add(r.Backend, r.Keys, render.Bytes(r.Before), render.Bytes(r.Peak), render.Bytes(uint64(max(r.Growth, 0))), render.Bytes(r.FileBytes), fmt.Sprintf("%.1f", r.Seconds))
			return a.printBench(r.Machine, r, t)
		})
	})
	return cmd
}
