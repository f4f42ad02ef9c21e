package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bench"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/contexts"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

// longestBench bounds the duration flags: a slip of the keyboard should not
// occupy a machine for a day.
const longestBench = 10 * time.Minute

func (a *app) benchCommand() *cobra.Command {
	cmd := a.parent("bench", groupOther, "Measure a cluster on this machine: figures, no verdict",
		"  holdfast bench flush\n  holdfast bench failover --kills 10 -o json")
	cmd.Long = `Each measurement starts nodes of its own in a temporary directory (three, or one
where it measures state on a host; cuts needs none), waits for the disk as nodes do,
and leaves nothing behind. With --address it measures a
running cluster instead, where that makes sense. What the nodes counted is compared
with what was sent before a figure is printed; the size of the machine stands beside
it, and claims are for that machine only.`
	cmd.AddCommand(a.benchStateCommand(), a.benchPathCommand(), a.benchCutsCommand(), a.benchSavepointCommand(), a.benchMapCommand(), a.benchMapCounterCommand(), a.benchFlushCommand(), a.benchFailoverCommand(), a.benchCountCommand(),
		a.benchMemoryCommand(), a.benchCheckpointsCommand(), a.benchCounterCommand())
	return cmd
}

// benched runs a measurement with its progress on stderr.
func (a *app) benched(own bool, run func(bench.Config) error) error {
	progress := render.StartProgress(a.stderr, "measuring")
	cfg := bench.Config{Patience: a.patience, Note: progress.Set}
	if a.addressList != "" {
		if own {
			progress.Stop()
			return exit.Errorf(exit.Usage, "this measurement needs nodes of its own; leave --address out")
		}
		addresses, err := connect.Split(a.addressList)
		if err == nil {
			cfg.TLS = a.tlsFlags.settings(contexts.Context{})
			cfg.Client, err = cfg.TLS.Open()
		}
		if err != nil {
			progress.Stop()
			return err
		}
		cfg.Addresses = addresses
	}
	var err error
	if len(cfg.Addresses) == 0 {
		cfg.Binary, err = procs.Find("holdfastd", "HOLDFASTD")
	}
	if err == nil {
		err = run(cfg)
	}
	progress.Stop()
	return err
}

// within refuses values outside of bounds.
func within[T int | int64 | time.Duration](flag string, v, least, most T) error {
	if v < least || v > most {
		return exit.Errorf(exit.Usage, "--%s is %v to %v, not %v", flag, least, most, v)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// printBench prints a report: the machine, then the table.
func (a *app) printBench(m bench.Machine, report any, t render.Table, after ...string) error {
	return a.print(report, func(w io.Writer) error {
		fmt.Fprintf(w, "machine: %s\n\n", m)
		if err := a.table(w, t); err != nil {
			return err
		}
		for _, line := range after {
			fmt.Fprintln(w, line)
		}
		return nil
	})
}

// distributionHeader goes before Distribution.Cells.
func distributionHeader(first ...string) []string {
	return append(first, "COUNT", "MIN", "P50", "P90", "P99", "MAX")
}

func (a *app) benchStateCommand() *cobra.Command {
	var f bench.StateConfig
	cmd := &cobra.Command{
		Use: "state", Short: "Read, change and write batches of keys, one batch at a time", Args: exactly(),
		Example: "  holdfast bench state --batch 1000",
	}
	cmd.Flags().IntVar(&f.Keys, "keys", 100_000, "number of keys")
	cmd.Flags().IntVar(&f.Batch, "batch", 1000, "keys of a batch, 1 to 5000")
	cmd.Flags().DurationVar(&f.Duration, "duration", 10*time.Second, "half of it on the leader, half on another node; 10 min at most")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("keys", f.Keys, f.Batch, 1_000_000), within("batch", f.Batch, 1, 5000), within("duration", f.Duration, time.Second, longestBench)); err != nil {
			return err
		}
		return a.benched(false, func(cfg bench.Config) error {
			r, err := bench.State(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: distributionHeader("NODE", "WHAT")}
			for _, x := range []struct {
				name string
				t    bench.StateTimes
			}{{"leader", r.Leader}, {"another", r.Other}} {
				t.Add(append([]any{x.name, "Get"}, x.t.Get.Cells()...)...)
				t.Add(append([]any{x.name, "Flush"}, x.t.Flush.Cells()...)...)
			}
			return a.printBench(r.Machine, r, t, "", fmt.Sprintf("read and written: %.0f keys a second on the leader, %.0f on another node, in batches of %d", r.Leader.Rate, r.Other.Rate, r.Batch))
		})
	})
	return cmd
}

func (a *app) benchFlushCommand() *cobra.Command {
	var f bench.FlushConfig
	cmd := &cobra.Command{
		Use: "flush", Short: "Latency of a flush, and a steady stream of updates", Args: exactly(),
		Long: `First one flush at a time, from its send to its ack, on the leader and on another
node; then updates on schedule through another node than the leader, whatever is
acknowledged: a queue that grows shows in the flushes in flight and in the second
half.`,
		Example: "  holdfast bench flush --count 500",
	}
	cmd.Flags().IntVar(&f.Count, "count", 300, "flushes one at a time, on each of two nodes")
	cmd.Flags().IntVar(&f.Changes, "changes", 256, "changes of such a flush, 1 to 5000")
	cmd.Flags().IntVar(&f.Rate, "rate", 100_000, "updates a second of the stream, by thousands; 0 leaves it out")
	cmd.Flags().DurationVar(&f.Duration, "duration", 10*time.Second, "of the stream; 10 min at most")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("count", f.Count, 1, 100_000), within("changes", f.Changes, 1, 5000), within("rate", f.Rate, 0, 10_000_000),
			within("duration", f.Duration, time.Second, longestBench)); err != nil {
			return err
		}
		if f.Rate%1000 != 0 {
			return exit.Errorf(exit.Usage, "--rate is a multiple of 1000, the changes of one flush")
		}
		return a.benched(false, func(cfg bench.Config) error {
			r, err := bench.Flush(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: distributionHeader("NODE", "CHANGES")}
			t.Add(append([]any{"leader", r.Changes}, r.Leader.Cells()...)...)
			t.Add(append([]any{"another", r.Changes}, r.Other.Cells()...)...)
			after := ""
			if u := r.Updates; u != nil {
				t.Add(append([]any{"another, first half", 1000}, u.FirstHalf.Cells()...)...)
				t.Add(append([]any{"another, second half", 1000}, u.SecondHalf.Cells()...)...)
				after = fmt.Sprintf("\n%.0f of %d updates a second, at most %d flushes in flight", u.Rate, u.Wanted, u.MostInFlight)
			}
			return a.printBench(r.Machine, r, t, after)
		})
	})
	return cmd
}

func (a *app) benchFailoverCommand() *cobra.Command {
	var f bench.FailoverConfig
	cmd := &cobra.Command{
		Use: "failover", Short: "Kill leaders and measure the time to the next commit", Args: exactly(),
		Long: `Kills leader after leader with SIGKILL while another node has a stream of flushes,
and tells how long it took until a flush that was sent after the kill was durable.`,
		Example: "  holdfast bench failover --kills 30",
	}
	cmd.Flags().IntVar(&f.Kills, "kills", 10, "leaders to kill, 1 to 1000")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := within("kills", f.Kills, 1, 1000); err != nil {
			return err
		}
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.Failover(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: distributionHeader("WHAT")}
			t.Add(append([]any{"leader killed to first new commit"}, r.Gap.Cells()...)...)
			return a.printBench(r.Machine, r, t)
		})
	})
	return cmd
}

func (a *app) benchCountCommand() *cobra.Command {
	var f bench.CountConfig
	cmd := &cobra.Command{
		Use: "count", Short: "Count a generated source by key, with checkpoints", Args: exactly(),
		Example: "  holdfast bench count --keys 100000 --duration 15s",
	}
	cmd.Flags().Int64Var(&f.Keys, "keys", 100_000, "number of keys")
	cmd.Flags().DurationVar(&f.Interval, "interval", time.Second, "time between checkpoints")
	cmd.Flags().DurationVar(&f.WarmUp, "warm-up", 5*time.Second, "time before the measurement")
	cmd.Flags().DurationVar(&f.Duration, "duration", 15*time.Second, "of the measurement; 10 min at most")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("keys", f.Keys, 1, 1_000_000), within("interval", f.Interval, 10*time.Millisecond, time.Minute),
			within("warm-up", f.WarmUp, time.Second, longestBench), within("duration", f.Duration, time.Second, longestBench)); err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		f.Operator = []string{self, "bench", "counter"}
		return a.benched(false, func(cfg bench.Config) error {
			r, err := bench.Count(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"RECORDS/S", "RECORDS/CORE-S", "LOG ENTRIES/S", "CHECKPOINTS/S", "COUNTED AND COMPARED"}}
			t.Add(fmt.Sprintf("%.0f", r.RecordsPerSecond), fmt.Sprintf("%.0f", r.RecordsPerCoreSecond), fmt.Sprintf("%.1f", r.EntriesPerSecond),
				fmt.Sprintf("%.2f", r.CheckpointsPerSecond), r.Counted)
			return a.printBench(r.Machine, r, t)
		})
	})
	return cmd
}

// benchCounterCommand is the operator process of `bench count`.
func (a *app) benchCounterCommand() *cobra.Command {
	var f bench.CounterConfig
	cmd := &cobra.Command{Use: "counter", Hidden: true, Short: "The operator of bench count", Args: exactly()}
	cmd.Flags().StringVar(&f.Job, "job", "", "name of the job")
	cmd.Flags().Int64Var(&f.Keys, "keys", 100_000, "number of keys")
	cmd.Flags().DurationVar(&f.Interval, "interval", time.Second, "time between checkpoints")
	cmd.Flags().DurationVar(&f.WarmUp, "warm-up", 5*time.Second, "time before the measurement")
	cmd.Flags().DurationVar(&f.Duration, "duration", 15*time.Second, "of the measurement")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error { return bench.Counter(ctx, f, a.stdout) })
	return cmd
}

func (a *app) benchMemoryCommand() *cobra.Command {
	var f bench.MemoryConfig
	cmd := &cobra.Command{
		Use: "memory", Short: "Memory of nodes whose one job has no records", Args: exactly(),
		Long: `Resident memory is what counts against a limit. Of it, memory of files is that of
the program and of the log, which the kernel takes back when it needs room.`,
		Example: "  holdfast bench memory --duration 1m",
	}
	cmd.Flags().DurationVar(&f.Duration, "duration", 30*time.Second, "how long the job runs; 10 min at most")
	cmd.Flags().DurationVar(&f.Interval, "interval", time.Second, "time between checkpoints")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("duration", f.Duration, time.Second, longestBench), within("interval", f.Interval, 10*time.Millisecond, time.Minute)); err != nil {
			return err
		}
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.MemoryOfEmptyJob(ctx, cfg, f)
			if err != nil {
				return err
			}
			t := render.Table{Header: []string{"NODE", "LEADS", "RESIDENT", "PEAK", "ANONYMOUS", "FILES"}}
			for _, n := range r.Nodes {
				t.Add(n.Name, n.Leader, render.Bytes(n.Resident), render.Bytes(n.Peak), render.Bytes(n.Anonymous), render.Bytes(n.File))
			}
			return a.printBench(r.Machine, r, t, fmt.Sprintf("\n%d checkpoints of an empty job in %.0f s", r.Checkpoints, r.Seconds))
		})
	})
	return cmd
}

func (a *app) benchCheckpointsCommand() *cobra.Command {
	var f bench.CheckpointsConfig
	cmd := &cobra.Command{
		Use: "checkpoints", Short: "What many checkpoints in a row leave behind", Args: exactly(),
		Long: `Takes checkpoints, of each job one as soon as the one before is complete, and tells
the sizes of the log, of the snapshots, of the coordinator's records, of the keyed
state with the versions that checkpoints keep, of the data directory and of the
processes: the largest of the three nodes. Each is compared with its bound, and in a
run of minutes the fourth quarter with the third; one that rises is an error.
Without --fsync the nodes do not wait for the disk, so that 100,000 take minutes.`,
		Example: "  holdfast bench checkpoints --checkpoints 100000",
	}
	cmd.Flags().IntVar(&f.Checkpoints, "checkpoints", 2000, "how many, 1 to 10,000,000")
	cmd.Flags().IntVar(&f.Jobs, "jobs", 1, "jobs that share them, 1 to 64")
	cmd.Flags().IntVar(&f.Rows, "rows", 20, "rows of the curve")
	cmd.Flags().BoolVar(&f.Fsync, "fsync", false, "wait for the disk, as nodes do")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := firstError(within("checkpoints", f.Checkpoints, 1, 10_000_000), within("jobs", f.Jobs, 1, 64), within("rows", f.Rows, 1, 1000)); err != nil {
			return err
		}
		return a.benched(true, func(cfg bench.Config) error {
			r, err := bench.Checkpoints(ctx, cfg, f)
			if err != nil {
				return err
			}
			if err := a.printCheckpoints(r); err != nil {
				return err
			}
			return r.Verdict()
		})
	})
	return cmd
}

// printCheckpoints prints the curve, and below it the bounds.
func (a *app) printCheckpoints(r *bench.CheckpointsReport) error {
	curve := render.Table{Header: []string{"CHECKPOINTS", "SECONDS", "LOG INDEX", "RAFT.DB", "SNAPSHOTS", "", "RECORDS", "VERSIONS", "STATE", "DIRECTORY",
		"RESIDENT", "ANONYMOUS", "FILES", "PEAK"}}
	for _, x := range r.Curve {
		curve.Add(x.Checkpoints, fmt.Sprintf("%.0f", x.Seconds), x.LogIndex, render.Bytes(x.LogBytes), x.SnapshotFiles, render.Bytes(x.SnapshotBytes),
			render.Bytes(x.RecordBytes), x.Versions, render.Bytes(x.StateBytes), render.Bytes(x.DirectoryBytes),
			render.Bytes(x.Resident), render.Bytes(x.Anonymous), render.Bytes(x.File), render.Bytes(x.Peak))
	}
	bounds := render.Table{Header: []string{"CURVE", "MOST", "BOUND", "3RD QUARTER", "4TH QUARTER", "WHERE THE BOUND COMES FROM"}}
	for _, b := range r.Bounds {
		size := func(n uint64) any { return render.Bytes(n) }
		if b.Number {
			size = func(n uint64) any { return n }
		}
		bounds.Add(b.Curve, size(b.Most), size(b.Bound), size(b.Third), size(b.Fourth), b.Why)
	}
	return a.print(r, func(w io.Writer) error {
		fmt.Fprintf(w, "machine: %s\n\n", r.Machine)
		if err := a.table(w, curve); err != nil {
			return err
		}
		fmt.Fprintln(w)
		if err := a.table(w, bounds); err != nil {
			return err
		}
		level := "every curve is compared with its bound; the run was too short to tell whether they are level"
		if r.Level {
			level = "every curve is compared with its bound, and its fourth quarter with its third"
		}
		fmt.Fprintf(w, "\n%.0f checkpoints a second; %s\n", r.PerSecond, level)
		return nil
	})
}
