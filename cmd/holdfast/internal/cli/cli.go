// Package cli is the command tree: flags in, calls to the packages beside it,
// results and exit codes out.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

// app is what all commands share: the streams, the global flags, the signals.
type app struct {
	stdout, stderr io.Writer

	addressList string
	contextName string
	tlsFlags    tlsFlags
	output      string
	noColor     bool
	// completeWithin bounds completion, 0 for the default.
	completeWithin time.Duration
	patience       time.Duration

	format render.Format
	style  render.Style
	// started is set when a command's own code begins; an error before that
	// is about the command line.
	started bool
	// onSecondSignal is what an impatient person gets.
	onSecondSignal atomic.Pointer[func()]
}

// Main runs the command line and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) exit.Code {
	a := &app{stdout: stdout, stderr: stderr}
	return a.main(a.root(), args)
}

func (a *app) main(root *cobra.Command, args []string) (code exit.Code) {
	defer func() { recovered(a.stderr, recover(), &code) }()
	ctx, stop := a.signals()
	defer stop()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.OK
	}
	return a.fail(err)
}

// fail prints the sentence and chooses the code.
func (a *app) fail(err error) exit.Code {
	code := exit.CodeOf(err)
	if !a.started {
		code = exit.Usage
	}
	// Joined errors come on lines of their own; a person gets one sentence.
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	switch {
	case code == exit.Interrupted:
		text = "interrupted"
	case code == exit.Usage && !strings.Contains(text, "--help"):
		text += "; see `holdfast --help`"
	}
	if text != "" {
		fmt.Fprintf(a.stderr, "holdfast: %s\n", text)
	}
	return code
}

// signals gives a context that ends with the first SIGINT or SIGTERM. The
// second one runs onSecondSignal, or ends the program.
func (a *app) signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	bug.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-ch:
			}
			if n == 1 {
				cancel()
			} else if hook := a.onSecondSignal.Load(); hook != nil {
				(*hook)()
			} else {
				os.Exit(int(exit.Interrupted))
			}
		}
	})
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel()
	}
}

// action is the body of a command.
type action func(ctx context.Context, args []string) error

// do wraps an action: from here on an error is not one of the command line,
// unless it says so.
func (a *app) do(f action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		format, err := render.ParseFormat(a.output)
		if err != nil {
			return err
		}
		a.format, a.started = format, true
		if !a.noColor {
			a.style = render.StyleFor(a.stdout)
		}
		return f(cmd.Context(), args)
	}
}

// print prints v as JSON or calls table, whichever was asked for.
func (a *app) print(v any, table func(w io.Writer) error) error {
	if a.format == render.FormatJSON {
		return render.JSON(a.stdout, v)
	}
	return table(a.stdout)
}

// table prints a table, in colours where there are any.
func (a *app) table(w io.Writer, t render.Table) error {
	t.Style = a.style
	return t.Write(w)
}

// note tells something on stderr that is not part of the result.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, "holdfast: "+format+"\n", args...)
}

// withCluster runs f with calls to the cluster that the flags name, telling
// the progress while it takes long.
func (a *app) withCluster(what string, f func(*connect.Cluster) error) error {
	return a.tellingProgress(what, func(c *connect.Cluster, _ *render.Progress) error { return f(c) })
}

// tellingProgress is withCluster for what tells how far it is.
func (a *app) tellingProgress(what string, f func(*connect.Cluster, *render.Progress) error) error {
	c, _, err := a.open()
	if err != nil {
		return err
	}
	defer c.Close()
	progress := render.StartProgress(a.stderr, what)
	defer progress.Stop()
	return f(c, progress)
}

// exactly asks for named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usage(cmd, names)
	}
}

// atLeast asks for named arguments and takes more.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= len(names) {
			return nil
		}
		return usage(cmd, names)
	}
}

// between asks for the first least of named arguments and takes all of them.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= len(names) {
			return nil
		}
		if len(args) > len(names) {
			return exit.Errorf(exit.Usage, "`%s` takes %s at most; see `%s --help`", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())
		}
		return usage(cmd, names[:least])
	}
}

func usage(cmd *cobra.Command, names []string) error {
	if len(names) == 0 {
		return exit.Errorf(exit.Usage, "`%s` takes no arguments; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
	}
	return exit.Errorf(exit.Usage, "`%s` needs %s; see `%s --help`", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())
}
