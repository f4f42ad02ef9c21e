package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

// servingLimit is how long nodes may take to find a leader after their start.
const servingLimit = 60 * time.Second

func (a *app) clusterCommand() *cobra.Command {
	cmd := a.parent("cluster", groupCluster, "Start, stop and look at a cluster",
		"  holdfast cluster start --nodes 3 --dir ./hf\n  holdfast cluster status --dir ./hf")
	cmd.AddCommand(a.clusterStartCommand(), a.clusterStopCommand(), a.clusterStatusCommand(), a.clusterVerifyCommand(),
		a.clusterAddCommand(), a.clusterRemoveCommand(), a.clusterTransferCommand())
	return cmd
}

// dirFlag adds --dir, without a default: a command that ends processes must
// not guess which.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "directory of the local cluster")
}

func tlsDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "tls-dir", "", "directory with the certificates of the nodes and of clients; the nodes go on using it")
}

func needDir(dir string) error {
	if dir == "" {
		return exit.Errorf(exit.Usage, "--dir is needed: the directory of the local cluster")
	}
	return nil
}

func (a *app) clusterStartCommand() *cobra.Command {
	var dir, tlsDir string
	var count, basePort int
	cmd := &cobra.Command{
		Use: "start --dir DIR", Short: "Start nodes on this machine; those that run are left alone", Args: exactly(),
		Long: `Starts holdfastd processes that go on when this command has ended. The first
start chooses free ports and keeps them in DIR/cluster.json; with --base-port P
node i has P+i-1 for clients and P+9+i for its peers. With --tls-dir all ports
have TLS, with the certificates that docs/security.md shows how to make: ca.crt,
client.crt and client.key, and n1.crt and n1.key for the node n1. holdfastd is the program
that HOLDFASTD names, else the one beside this program, else the one in PATH.`,
		Example: "  holdfast cluster start --nodes 3 --dir ./hf\n  holdfast cluster start --nodes 3 --dir ./hf --tls-dir ./certs",
	}
	dirFlag(cmd, &dir)
	tlsDirFlag(cmd, &tlsDir)
	cmd.Flags().IntVar(&count, "nodes", 3, "number of nodes")
	cmd.Flags().IntVar(&basePort, "base-port", 0, "first client port; 0 chooses free ports")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if err := needDir(dir); err != nil {
			return err
		}
		if !cmd.Flags().Changed("nodes") {
			if c, err := nodes.Open(dir); err == nil {
				count = len(c.Nodes())
			}
		}
		return a.startCluster(ctx, dir, count, basePort, tlsDir)
	})
	return cmd
}

func (a *app) startCluster(ctx context.Context, dir string, count, basePort int, tlsDir string) error {
	c, err := nodes.Create(dir, count, basePort, tlsDir)
	if err != nil {
		return err
	}
	return a.startNodes(ctx, c)
}

// startNodes starts the named nodes, or all, and waits until they serve.
func (a *app) startNodes(ctx context.Context, c *nodes.Cluster, names ...string) error {
	binary, err := procs.Find("holdfastd", "HOLDFASTD")
	if err != nil {
		return err
	}
	started, err := c.Start(binary, names...)
	if err != nil {
		return err
	}
	progress := render.StartProgress(a.stderr, "waiting until the nodes serve")
	err = c.WaitServing(ctx, servingLimit, names...)
	progress.Stop()
	if err != nil {
		return err
	}
	return a.printStarted(c, started, names...)
}

type nodeView struct {
	Name          string `json:"name"`
	Pid           int    `json:"pid"`
	Running       bool   `json:"running"`
	Started       bool   `json:"started,omitempty"`
	ClientAddress string `json:"client_address"`
	PeerAddress   string `json:"peer_address"`
	Log           string `json:"log"`
}

type startedView struct {
	Dir     string `json:"dir"`
	Address string `json:"address"`
	// Environment is what else clients need.
	Environment []string   `json:"environment,omitempty"`
	Nodes       []nodeView `json:"nodes"`
}

func viewNodes(c *nodes.Cluster, started []nodes.Node, names []string) []nodeView {
	fresh := map[string]bool{}
	for _, n := range started {
		fresh[n.Name] = true
	}
	var out []nodeView
	for _, n := range c.Nodes() {
		if len(names) > 0 && !n.Named(names) {
			continue
		}
		v := nodeView{
			Name: n.Name, Running: n.Running(), Started: fresh[n.Name],
			ClientAddress: n.ClientAddress, PeerAddress: n.PeerAddress, Log: n.Log(),
		}
		if v.Running {
			v.Pid = n.Pid
		}
		out = append(out, v)
	}
	return out
}

// printStarted shows the named nodes, or all.
func (a *app) printStarted(c *nodes.Cluster, started []nodes.Node, names ...string) error {
	v := startedView{Dir: c.Dir(), Address: strings.Join(c.Addresses(), ","), Environment: tlsEnvironment(c.ClientTLS()), Nodes: viewNodes(c, started, names)}
	return a.print(v, func(w io.Writer) error {
		t := render.Table{Header: []string{"NODE", "PID", "CLIENT ADDRESS", "STATE", "LOG"}}
		for _, n := range v.Nodes {
			state := "runs already"
			if n.Started {
				state = "started"
			} else if !n.Running {
				state = "stopped"
			}
			t.Add(n.Name, dash(n.Pid), n.ClientAddress, state, n.Log)
		}
		if err := a.table(w, t); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\nexport HOLDFAST_ADDRESS=%s\n", v.Address)
		for _, variable := range v.Environment {
			fmt.Fprintf(w, "export %s\n", variable)
		}
		return err
	})
}

func dash(pid int) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}

func (a *app) clusterStopCommand() *cobra.Command {
	var dir string
	var hard bool
	cmd := &cobra.Command{
		Use: "stop --dir DIR", Short: "Stop the nodes of a local cluster; the data stays", Args: exactly(),
		Example: "  holdfast cluster stop --dir ./hf",
	}
	dirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&hard, "hard", false, "SIGKILL at once instead of SIGTERM first")
	cmd.RunE = a.do(func(context.Context, []string) error {
		if err := needDir(dir); err != nil {
			return err
		}
		c, err := nodes.Open(dir)
		if err != nil {
			return err
		}
		progress := render.StartProgress(a.stderr, "waiting until the nodes have drained")
		stopped, err := c.Stop(hard)
		progress.Stop()
		if err != nil {
			return err
		}
		return a.printStopped(stopped)
	})
	return cmd
}

func (a *app) printStopped(stopped []nodes.Node) error {
	views := []nodeView{}
	for _, n := range stopped {
		views = append(views, nodeView{Name: n.Name, Pid: n.Pid, ClientAddress: n.ClientAddress, PeerAddress: n.PeerAddress, Log: n.Log()})
	}
	return a.print(map[string]any{"stopped": views}, func(w io.Writer) error {
		for _, n := range views {
			fmt.Fprintf(w, "stopped %s (pid %d)\n", n.Name, n.Pid)
		}
		if len(views) == 0 {
			fmt.Fprintln(w, "no node was running")
		}
		return nil
	})
}

func (a *app) nodeCommand() *cobra.Command {
	cmd := a.parent("node", groupCluster, "Kill, start, add and remove single nodes of a local cluster",
		"  holdfast node kill n2 --dir ./hf\n  holdfast node start n2 --dir ./hf\n  holdfast node add --dir ./hf")
	var killDir, startDir string
	kill := &cobra.Command{
		Use: "kill NODE --dir DIR", Short: "End a node with SIGKILL, as a power cut would", Args: exactly("NODE"),
		Example: "  holdfast node kill n2 --dir ./hf",
		RunE: a.do(func(_ context.Context, args []string) error {
			if err := needDir(killDir); err != nil {
				return err
			}
			return a.killNode(killDir, args[0])
		}),
	}
	dirFlag(kill, &killDir)
	kill.ValidArgsFunction = completeLocalNodes(&killDir)
	start := &cobra.Command{
		Use: "start NODE --dir DIR", Short: "Start a node that does not run", Args: exactly("NODE"),
		Example: "  holdfast node start n2 --dir ./hf",
		RunE: a.do(func(ctx context.Context, args []string) error {
			if err := needDir(startDir); err != nil {
				return err
			}
			c, err := nodes.Open(startDir)
			if err != nil {
				return err
			}
			return a.startNodes(ctx, c, args[0])
		}),
	}
	dirFlag(start, &startDir)
	start.ValidArgsFunction = completeLocalNodes(&startDir)
	cmd.AddCommand(kill, start, a.nodeAddCommand(), a.nodeRemoveCommand())
	return cmd
}

func (a *app) killNode(dir, name string) error {
	c, err := nodes.Open(dir)
	if err != nil {
		return err
	}
	n, err := c.Kill(name)
	if err != nil {
		return err
	}
	return a.print(map[string]any{"killed": n.Name, "pid": n.Pid}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "killed %s (pid %d)\n", n.Name, n.Pid)
		return err
	})
}
