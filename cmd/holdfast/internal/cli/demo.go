package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/demo"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/democheck"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

func (a *app) demoCommand() *cobra.Command {
	cfg := demo.Config{}
	cmd := &cobra.Command{
		Use: "demo", GroupID: groupStart, Short: "Watch a cluster lose its leader twice, its operator and its host, and count right", Args: exactly(),
		Long: `Starts an embedded Kafka broker, three nodes and a job that counts words; kills
the leader twice, the operator process and the node that hosts it, each with
SIGKILL and under traffic; then lets a separate process read the topic anew and
compare it with the state and with what was printed. Takes less than 90 seconds
and leaves nothing behind. The last line is JSON. Exit code 1: a count is wrong
or something did not come back.`,
		Example: "  holdfast demo\n  holdfast demo --keep --records-per-second 50",
	}
	cmd.Flags().BoolVar(&cfg.Keep, "keep", false, "leave it running afterwards, until Ctrl-C, and say how to play with it")
	cmd.Flags().Float64Var(&cfg.RecordsPerSecond, "records-per-second", 200, "rate of the traffic")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "empty directory for data and logs, which stay (default: a temporary one)")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if cfg.RecordsPerSecond < 1 || cfg.RecordsPerSecond > 10000 {
			return exit.Errorf(exit.Usage, "--records-per-second is 1 to 10000, not %g", cfg.RecordsPerSecond)
		}
		return a.demo(ctx, cfg)
	})
	return cmd
}

func (a *app) demo(ctx context.Context, cfg demo.Config) error {
	cfg.User, cfg.Host = userName(), hostName()
	cfg.Timeline = &demo.Timeline{Out: a.stdout, Style: a.style, JSON: a.format == render.FormatJSON}
	cfg.Verdict = func(r demo.Result) {
		_ = render.JSONLine(a.stdout, r) // a closed stdout: nobody is there to be told
	}
	err := demo.Run(ctx, cfg)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return exit.Errorf(exit.Failure, "the demo failed: %w", err)
}

func (a *app) demoCheckCommand() *cobra.Command {
	cfg := democheck.Config{}
	cmd := &cobra.Command{Use: "demo-check", Hidden: true, Short: "Judge a run of the demo", Args: exactly()}
	flags := cmd.Flags()
	flags.StringSliceVar(&cfg.BootstrapServers, "bootstrap-servers", nil, "Kafka brokers")
	flags.StringVar(&cfg.Topic, "topic", "", "the topic that was counted")
	flags.StringVar(&cfg.Job, "job", "", "the job that counted")
	flags.StringVar(&cfg.UID, "uid", "", "uid of the operator with the counts")
	flags.StringVar(&cfg.State, "state", "", "name of the state with the counts")
	flags.StringVar(&cfg.OutputDir, "output-dir", "", "directory of the .out files")
	flags.IntVar(&cfg.Replicas, "replicas", 3, "replicas that must be equal")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		for name, value := range map[string]string{"topic": cfg.Topic, "job": cfg.Job, "uid": cfg.UID, "state": cfg.State, "output-dir": cfg.OutputDir} {
			if value == "" {
				return exit.Errorf(exit.Usage, "--%s is needed", name)
			}
		}
		return a.demoCheck(ctx, cfg)
	})
	return cmd
}

func (a *app) demoCheck(ctx context.Context, cfg democheck.Config) error {
	var report *democheck.Report
	err := a.withCluster("checking", func(c *connect.Cluster) (err error) {
		report, err = democheck.Run(ctx, cfg, c)
		return err
	})
	if err != nil {
		return err
	}
	err = a.print(report, func(w io.Writer) error {
		for _, p := range report.Problems {
			fmt.Fprintln(w, p)
		}
		_, err := fmt.Fprintf(w, "%d records, %d lost, %d counted twice\n", report.Records, report.Lost, report.DoubleCounted)
		return err
	})
	if err == nil && !report.OK {
		return exit.Errorf(exit.Failure, "the run was not right")
	}
	return err
}
