package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/internal/version"
)

const (
	groupStart   = "start"
	groupCluster = "cluster"
	groupJobs    = "jobs"
	groupState   = "state"
	groupOther   = "other"
)

// defaultPatience is long enough for an election and a slow disk.
const defaultPatience = 15 * time.Second

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Stateful stream processing for programs in any language",
		Long: `holdfast runs and looks after Holdfast clusters and the programs that process
streams with them: keyed state, checkpoints and exactly-once results.`,
		Example:       "  holdfast demo\n  holdfast cluster start --nodes 3 --dir ./hf\n  holdfast run -p 2 -- ./my-program\n  holdfast state list my-job",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Errorf(exit.Usage, "%w; see `%s --help`", flagError(err), cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.addressList, "address", "", "client addresses of nodes, comma separated; each is tried (default $HOLDFAST_ADDRESS, else those of the context, else 127.0.0.1:7070)")
	a.contextFlag(root)
	a.tlsFlags.register(flags)
	flags.BoolVar(&a.noColor, "no-color", false, "no colours on a terminal; as NO_COLOR")
	flags.StringVarP(&a.output, "output", "o", string(render.FormatTable), "format of results: table or json")
	flags.DurationVar(&a.patience, "timeout", defaultPatience, "how long a call is tried again while there is no leader or no node; 3 s where every address refuses connections")
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "First steps:"},
		&cobra.Group{ID: groupCluster, Title: "Cluster:"},
		&cobra.Group{ID: groupJobs, Title: "Jobs:"},
		&cobra.Group{ID: groupState, Title: "State:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	completeFlag(root, "output", fixedWords(string(render.FormatTable), string(render.FormatJSON)))
	completeFlag(root, "context", completeContexts)
	completeFlag(root, "address", fixedWords())
	root.AddCommand(a.demoCommand(), a.demoCheckCommand(), a.clusterCommand(), a.nodeCommand(), a.snapshotCommand())
	root.AddCommand(a.runCommand())
	root.AddCommand(a.jobCommands()...)
	root.AddCommand(a.savepointCommand(), a.stateCommand(), a.diffCommand(), a.verifyCommand())
	root.AddCommand(a.configCommand(), a.contextCommand(), a.benchCommand(), a.completionCommand(), a.versionCommand())
	addHelp(root)
	return root
}

// unknownCommand names the commands that the word is close to.
func unknownCommand(cmd *cobra.Command, word string) error {
	text := fmt.Sprintf("unknown command %q", word)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		text += fmt.Sprintf("; did you mean `%s %s`?", cmd.CommandPath(), strings.Join(near, "`, or `"+cmd.CommandPath()+" "))
		return exit.Errorf(exit.Usage, "%s `%s --help` lists all", text, cmd.CommandPath())
	}
	return exit.Errorf(exit.Usage, "%s; see `%s --help`", text, cmd.CommandPath())
}

// parent is a command that only holds others. cobra would print its help and
// call that success, also for a word that no command has.
func (a *app) parent(use, group, short, example string) *cobra.Command {
	return &cobra.Command{
		Use: use, GroupID: group, Short: short, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
}

type versionView struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Commit  string `json:"commit,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", GroupID: groupOther, Short: "Print the version of this program", Args: exactly(),
		Example: "  holdfast version -o json",
		RunE: a.do(func(context.Context, []string) error {
			return a.printVersion()
		}),
	}
}

func (a *app) printVersion() error {
	v := versionView{Version: version.Version}
	info, ok := debug.ReadBuildInfo()
	if ok {
		v.Go = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "holdfast %s (%s)\n", v.Version, v.Go)
		return err
	})
}
