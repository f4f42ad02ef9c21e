package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/internal/config/flags"
	"github.com/holdfast-io/holdfast/internal/version"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// Main is holdfastd: it reads flags, environment and configuration file, runs a node
// until it is told to stop, and ends the process. A daemon with state backends of its
// own adds them to those of the project.
func Main(add ...func(*backend.Registry) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd, started := command(func(ctx context.Context, cfg Config) (err error) {
		if cfg.Backends, err = DefaultBackends(); err != nil {
			return err
		}
		for _, a := range add {
			if err := a(cfg.Backends); err != nil {
				return err
			}
		}
		return Run(ctx, cfg)
	})
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		if *started {
			os.Exit(exitFailure)
		}
		os.Exit(exitUsage)
	}
}

// command builds the command line around run; started tells whether the
// configuration was right.
func command(run func(context.Context, Config) error) (cmd *cobra.Command, started *bool) {
	var file string
	var given *flags.Set
	started = new(bool)
	cmd = &cobra.Command{
		Use:   "holdfastd",
		Short: "One node of a Holdfast cluster",
		Long: `holdfastd is one node: it keeps a copy of the replicated state, hosts operator
streams, and leads the cluster when it is elected. Without flags it is a cluster
of one for development, in ./holdfast-data.

Everything can also be set in a file and in the environment; flags weigh most.
docs/configuration.md has every key, and "holdfast config check FILE" tells what
is wrong with a file.`,
		Example: `  holdfastd
  holdfastd --config /etc/holdfast.yaml --name n1
  holdfastd --name n1 --data-dir /var/lib/holdfast --listen 127.0.0.1:7071 --peer-listen 127.0.0.1:7081 \
            --initial-cluster n1=127.0.0.1:7081,n2=127.0.0.1:7082,n3=127.0.0.1:7083`,
		Version: version.Version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configure(file, given.Values())
			if err != nil {
				return err
			}
			*started = true
			return run(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "configuration file (default: $"+config.FileVariable+", else none)")
	given = flags.Register(f)
	return cmd, started
}

// configure reads file, environment and flags.
func configure(file string, given []config.FlagValue) (Config, error) {
	if file == "" {
		file = os.Getenv(config.FileVariable)
	}
	r := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: given})
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	log, err := NewLogger(os.Stderr, r.Config.Node.Log.Level, r.Config.Node.Log.Format)
	if err != nil {
		return Config{}, err
	}
	tell(log, file, r.Notes)
	cfg := FromConfig(r.Config)
	cfg.Logger = log
	return cfg, nil
}

func tell(log *slog.Logger, file string, notes []string) {
	if file != "" {
		log.Info("configuration read", "file", file)
	}
	for _, n := range notes {
		log.Warn("configuration: " + n)
	}
}
