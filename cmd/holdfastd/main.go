// Command holdfastd is one node of a Holdfast cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/internal/version"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd, started := command()
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "holdfastd:", err)
		if *started {
			os.Exit(exitFailure)
		}
		os.Exit(exitUsage)
	}
}

// command builds the command line; started tells whether the flags were right.
func command() (cmd *cobra.Command, started *bool) {
	cfg := daemon.DefaultConfig()
	var level, format string
	started = new(bool)
	cmd = &cobra.Command{
		Use:   "holdfastd",
		Short: "One node of a Holdfast cluster",
		Long: `holdfastd is one node: it keeps a copy of the replicated state, hosts operator
streams, and leads the cluster when it is elected. Without flags it is a cluster
of one for development, in ./holdfast-data.`,
		Example: `  holdfastd
  holdfastd --name n1 --data-dir /var/lib/holdfast --listen 127.0.0.1:7071 --peer-listen 127.0.0.1:7081 \
            --initial-cluster n1=127.0.0.1:7081,n2=127.0.0.1:7082,n3=127.0.0.1:7083`,
		Version: version.Version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := daemon.NewLogger(os.Stderr, level, format)
			if err != nil {
				return err
			}
			*started = true
			cfg.Logger = log
			return daemon.Run(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "directory of the node's identity, log and snapshots; one node a directory")
	f.StringVar(&cfg.Name, "name", cfg.Name, "name of the node in --initial-cluster and in what people read")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "host:port for clients")
	f.StringVar(&cfg.Advertise, "advertise", cfg.Advertise, "address told to clients (default: the one of --listen)")
	f.StringVar(&cfg.PeerListen, "peer-listen", cfg.PeerListen, "host:port for other nodes")
	f.StringVar(&cfg.PeerAdvertise, "peer-advertise", cfg.PeerAdvertise, "address told to other nodes (default: the one of --peer-listen)")
	f.StringVar(&cfg.InitialCluster, "initial-cluster", cfg.InitialCluster, "the first members, the same list on each: name=host:port,... of their peer addresses; used once")
	f.BoolVar(&cfg.InsecureListen, "insecure-listen", false, "listen beyond loopback although there is no TLS")
	f.DurationVar(&cfg.HeartbeatInterval, "heartbeat-interval", cfg.HeartbeatInterval, "how often operator processes send a heartbeat")
	f.DurationVar(&cfg.SessionTimeout, "session-timeout", cfg.SessionTimeout, "how long an operator process or a host may be silent before its subtasks are given away")
	f.DurationVar(&cfg.Raft.HeartbeatTimeout, "raft-heartbeat-timeout", cfg.Raft.HeartbeatTimeout, "how long a follower waits for the leader before it asks for an election")
	f.DurationVar(&cfg.Raft.ElectionTimeout, "raft-election-timeout", cfg.Raft.ElectionTimeout, "how long a candidate waits for votes")
	f.Uint64Var(&cfg.Raft.SnapshotThreshold, "raft-snapshot-threshold", cfg.Raft.SnapshotThreshold, "entries after which a snapshot of the log is taken")
	f.DurationVar(&cfg.Raft.SnapshotInterval, "raft-snapshot-interval", cfg.Raft.SnapshotInterval, "how often the snapshot threshold is checked")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "text or json")
	return cmd, started
}
