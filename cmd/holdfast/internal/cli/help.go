package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// exitsAnnotation has the exit codes of a command in its help.
const exitsAnnotation = "exits"

// exits says which codes a command can end with, besides those that every command
// has: done, failed, usage and interrupted. A command without it may end with any.
func exits(cmd *cobra.Command, codes ...exit.Code) *cobra.Command {
	var words []string
	for _, c := range append(codes, exit.OK, exit.Failure, exit.Usage, exit.Interrupted) {
		words = append(words, fmt.Sprint(int(c)))
	}
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[exitsAnnotation] = strings.Join(words, " ")
	return cmd
}

// exitCodes are the lines of a command's help about its exit codes.
func exitCodes(cmd *cobra.Command) string {
	allowed := map[string]bool{}
	for _, w := range strings.Fields(cmd.Annotations[exitsAnnotation]) {
		allowed[w] = true
	}
	var b strings.Builder
	b.WriteString("\nExit codes:\n")
	for _, m := range exit.Meanings() {
		if len(allowed) == 0 || allowed[fmt.Sprint(int(m.Code))] {
			fmt.Fprintf(&b, "  %-4d %s\n", m.Code, m.Text)
		}
	}
	return b.String()
}

// helpTopics are pages of `holdfast help` that are no commands.
func helpTopics() []*cobra.Command {
	var codes strings.Builder
	codes.WriteString("Every command ends with one of these exit codes. The numbers are part of the\ninterface and do not change. The error is one line on stderr: what went wrong,\nand what to do.\n\n")
	for _, m := range exit.Meanings() {
		fmt.Fprintf(&codes, "  %-4d %s\n", m.Code, m.Text)
	}
	codes.WriteString("\n`holdfast run` ends with 0 if its job FINISHED and with 1 if it FAILED or was\nCANCELED. --watch that is ended by Ctrl-C ends with 0.")
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: codes.String()},
		{Use: "environment", Short: "Variables that commands read", Long: environmentHelp},
	}
}

const environmentHelp = `A flag comes before a variable, a variable before a context, a context before the
default.

  HOLDFAST_ADDRESS   client addresses of nodes, comma separated; as --address
  HOLDFAST_CONTEXT   name of a context; as --context
  HOLDFAST_TLS_CA_FILE, HOLDFAST_TLS_CERT_FILE, HOLDFAST_TLS_KEY_FILE,
  HOLDFAST_TLS_SERVER_NAME
                     as --tls-ca-file and so on
  HOLDFAST_CONFIG    configuration file of nodes and programs; as --config
  HOLDFAST_...       keys of that file, for ` + "`config show`" + `, nodes and programs; see
                     docs/configuration.md
  HOLDFASTD          the holdfastd program that ` + "`cluster start`" + ` starts
  NO_COLOR           set to anything: no colours; as --no-color
  TERM               dumb: no colours
  XDG_CONFIG_HOME    where the contexts are kept: holdfast/contexts.yaml in it, or in
                     ~/.config

` + "`holdfast run`" + ` sets these for the program:

  HOLDFAST_ADDRESS         the addresses that it found
  HOLDFAST_SUBMISSION_ID   one for each run
  HOLDFAST_PROCESS_ID      one for each process
  HOLDFAST_PARALLELISM     -p
  HOLDFAST_JOB_NAME        --job, if it is given
  HOLDFAST_TLS_...         what it uses itself
  HOLDFAST_EXECUTION_STATE_RECOVERY_PATH, ..._IGNORE_UNCLAIMED_STATE, ..._CLAIM_MODE
                           --from-savepoint and what goes with it

With -o json, results are JSON on stdout: one value, or with --watch, run, demo,
diff and state scan one on each line. Names of fields are only added. Progress and errors are on
stderr.`

// addHelp gives every command the same help.
func addHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("exitCodes", exitCodes)
	root.SetUsageTemplate(root.UsageTemplate() + "{{if .Runnable}}{{exitCodes .}}{{end}}")
	root.AddCommand(helpTopics()...)
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Run, c.RunE = nil, helpAbout
		}
	}
}

// helpAbout prints the help of a command or a topic. cobra's own would print that
// of the root for a word that is neither, and call it success.
func helpAbout(cmd *cobra.Command, words []string) error {
	about, rest, err := cmd.Root().Find(words)
	if about == nil {
		return err
	}
	if len(rest) > 0 && about.HasSubCommands() {
		return unknownCommand(about, rest[0])
	}
	about.InitDefaultHelpFlag()
	return about.Help()
}
