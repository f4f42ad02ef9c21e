package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// completeWithin bounds what completion asks a cluster for: a person has pressed
// a key and waits.
const completeWithin = time.Second

// completion is what cobra calls with what is on the line.
type completion = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// ask calls the cluster for a completion. It is silent when nobody answers, and it
// does not answer late.
func (a *app) ask(f func(ctx context.Context, c *connect.Cluster) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	within := completeWithin
	if a.completeWithin > 0 {
		within = a.completeWithin
	}
	a.patience = min(a.patience, within)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c, _, err := a.open()
	if err != nil {
		return nil, noFiles
	}
	defer c.Close()
	words, err := f(ctx, c)
	if err != nil {
		return nil, noFiles
	}
	return words, noFiles
}

// completeJobs completes the names of the jobs that fit, as the first argument;
// next, if there is one, completes those that follow.
func (a *app) completeJobs(fits func(holdfastv1.JobStatus) bool, next completion) completion {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			if next == nil {
				return nil, noFiles
			}
			return next(cmd, args, word)
		}
		return a.ask(func(ctx context.Context, c *connect.Cluster) (out []string, err error) {
			list, err := jobs.List(ctx, c)
			newest := map[string]*holdfastv1.JobSummary{}
			for _, j := range list {
				newest[j.GetName()] = j
			}
			for _, j := range list {
				if newest[j.GetName()] == j && fits(j.GetStatus()) && strings.HasPrefix(j.GetName(), word) {
					out = append(out, cobra.CompletionWithDesc(j.GetName(), statusName(j.GetStatus())))
				}
			}
			return out, err
		})
	}
}

func anyJob(holdfastv1.JobStatus) bool      { return true }
func goingOn(s holdfastv1.JobStatus) bool   { return !jobs.Ended(s) }
func suspended(s holdfastv1.JobStatus) bool { return s == holdfastv1.JobStatus_JOB_STATUS_SUSPENDED }

// completeCheckpoints completes the ids of a job's checkpoints that fit.
func (a *app) completeCheckpoints(retained bool) completion {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, noFiles
		}
		return a.ask(func(ctx context.Context, c *connect.Cluster) (out []string, err error) {
			answer, err := listCheckpoints(ctx, c, args[0])
			for _, chk := range answer.GetCheckpoints() {
				if id := strconv.FormatUint(chk.GetId(), 10); strings.HasPrefix(id, word) && (chk.GetRetained() || !retained) {
					out = append(out, cobra.CompletionWithDesc(id, strings.ToLower(strings.TrimPrefix(chk.GetStatus().String(), "CHECKPOINT_STATUS_"))))
				}
			}
			return out, err
		})
	}
}

// completeStates completes --uid or --state of the job on the line.
func (a *app) completeStates(pick func(o *holdfastv1.Operator, d *holdfastv1.StateDescriptor) (word, about string)) completion {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, noFiles
		}
		return a.ask(func(ctx context.Context, c *connect.Cluster) (out []string, err error) {
			job, err := jobs.Describe(ctx, c, args[0])
			seen := map[string]bool{}
			for _, o := range job.GetSpec().GetOperators() {
				for _, d := range everyState(o) {
					w, about := pick(o, d)
					if !seen[w] && strings.HasPrefix(w, word) {
						seen[w] = true
						out = append(out, cobra.CompletionWithDesc(w, about))
					}
				}
			}
			return out, err
		})
	}
}

func stateUID(o *holdfastv1.Operator, _ *holdfastv1.StateDescriptor) (string, string) {
	return o.GetUid(), o.GetName()
}

func stateName(o *holdfastv1.Operator, d *holdfastv1.StateDescriptor) (string, string) {
	return d.GetName(), d.GetType() + " of " + o.GetUid()
}

// completeLocalNodes completes the names of the nodes of --dir.
func completeLocalNodes(dir *string) completion {
	return func(_ *cobra.Command, args []string, word string) (out []string, _ cobra.ShellCompDirective) {
		c, err := nodes.Open(*dir)
		if err != nil || len(args) > 0 {
			return nil, noFiles
		}
		for _, n := range c.Nodes() {
			if strings.HasPrefix(n.Name, word) {
				out = append(out, cobra.CompletionWithDesc(n.Name, n.ClientAddress))
			}
		}
		return out, noFiles
	}
}

// completeMembers completes the names of the members of the cluster.
func (a *app) completeMembers(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.ask(func(ctx context.Context, c *connect.Cluster) (out []string, err error) {
		var answer *holdfastv1.ClusterServiceDescribeResponse
		err = c.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
			answer, err = connect.View(ctx, conn)
			return err
		})
		for _, m := range answer.GetMembers() {
			if strings.HasPrefix(m.GetName(), word) {
				out = append(out, cobra.CompletionWithDesc(m.GetName(), m.GetClientAddress()))
			}
		}
		return out, err
	})
}

// completeContexts completes the names of the contexts.
func completeContexts(_ *cobra.Command, args []string, word string) (out []string, _ cobra.ShellCompDirective) {
	f, err := loadContexts()
	if err != nil || len(args) > 0 {
		return nil, noFiles
	}
	for _, name := range f.Names() {
		if strings.HasPrefix(name, word) {
			out = append(out, cobra.CompletionWithDesc(name, f.Contexts[name].Address))
		}
	}
	return out, noFiles
}

// completeFlag gives a flag the words that it takes.
func completeFlag(cmd *cobra.Command, flag string, f completion) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(fmt.Sprintf("completion of --%s of %s: %v", flag, cmd.Name(), err))
	}
}

func fixedWords(words ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return words, noFiles }
}

// completionCommand takes the place of cobra's own, which has no examples.
func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", GroupID: groupOther, Short: "Print the completion script for bash, zsh or fish", Args: exactly("SHELL"),
		Long: `Prints a script that completes commands, flags, and the names of jobs, states,
checkpoints, nodes and contexts. Names are asked of the cluster for a second at
most; when nobody answers nothing is completed and nothing is printed.

bash needs the package bash-completion; zsh needs compinit.`,
		Example: `  source <(holdfast completion bash)
  holdfast completion bash > /etc/bash_completion.d/holdfast
  holdfast completion zsh > "${fpath[1]}/_holdfast"
  holdfast completion fish > ~/.config/fish/completions/holdfast.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			return printCompletion(cmd.Root(), args[0], a.stdout)
		},
	}
}

func printCompletion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return exit.Errorf(exit.Usage, "there is a completion for bash, zsh and fish, not for %q; see `holdfast completion --help`", shell)
}
