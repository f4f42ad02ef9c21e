package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// walk visits every command that a person sees.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" {
		return
	}
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

// isTopic tells a page of help from a command.
func isTopic(c *cobra.Command) bool { return !c.Runnable() }

func TestHelp_EveryCommandIsDocumented(t *testing.T) {
	walk((&app{}).root(), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the summary is %q", c.CommandPath(), c.Short)
		}
		if isTopic(c) {
			return
		}
		if c.Example == "" || !strings.HasPrefix(c.Example, "  ") {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			if !strings.Contains(line, "holdfast") {
				t.Errorf("%s: the example %q does not call holdfast", c.CommandPath(), line)
			}
		}
		if c.HasParent() && !c.Parent().HasParent() && c.GroupID == "" {
			t.Errorf("%s is in no group", c.CommandPath())
		}
		var stdout, stderr strings.Builder
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code := Main(args, &stdout, &stderr); code != exit.OK {
			t.Errorf("%v: %d, %s", args, code, stderr.String())
		}
		_, codes, ok := strings.Cut(stdout.String(), "\nExit codes:\n")
		for _, want := range []exit.Code{exit.OK, exit.Failure, exit.Usage, exit.Interrupted} {
			if !ok || !strings.Contains(codes, fmt.Sprintf("  %-4d ", want)) {
				t.Errorf("%s does not document exit code %d", c.CommandPath(), want)
			}
		}
	})
}

func TestHelp_Groups(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := Main([]string{"--help"}, &stdout, &stderr); code != exit.OK {
		t.Fatal(code)
	}
	for _, want := range []string{"Exit codes:", "130  interrupted", "First steps:", "Cluster:", "Jobs:", "State:", "Other:", "holdfast environment", "holdfast exit-codes"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in the help:\n%s", want, stdout.String())
		}
	}
}

func TestHelp_Topics(t *testing.T) {
	for topic, want := range map[string]string{"exit-codes": "  4    no leader", "environment": "HOLDFAST_TLS_CA_FILE", "describe": "holdfast describe JOB"} {
		var stdout, stderr strings.Builder
		if code := Main([]string{"help", topic}, &stdout, &stderr); code != exit.OK || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: %d, %s%s", topic, code, stdout.String(), stderr.String())
		}
	}
}

// notJSON are the commands whose output is not a result.
var notJSON = map[string]string{
	"holdfast":            "prints its help",
	"holdfast cluster":    "prints its help",
	"holdfast node":       "prints its help",
	"holdfast state":      "prints its help",
	"holdfast config":     "prints its help",
	"holdfast context":    "prints its help",
	"holdfast completion": "prints a shell script",
}

// Every command takes -o json and refuses another format before it does anything.
func TestOutput_EveryPrintingCommandKnowsTheFormats(t *testing.T) {
	hermetic(t)
	walk((&app{}).root(), func(c *cobra.Command) {
		if isTopic(c) || notJSON[c.CommandPath()] != "" || c.HasSubCommands() {
			return
		}
		args := strings.Fields(c.CommandPath())[1:]
		for range strings.Count(c.Use, " ") {
			args = append(args, "x")
		}
		code, stdout, stderr := exit.Code(-1), "", ""
		// As many arguments as the command takes.
		for n := len(args); n >= len(strings.Fields(c.CommandPath()))-1; n-- {
			var out, errs strings.Builder
			code = Main(append([]string{"-o", "yaml"}, args[:n]...), &out, &errs)
			stdout, stderr = out.String(), errs.String()
			if strings.Contains(stderr, "--output is table or json") {
				break
			}
		}
		if code != exit.Usage || !strings.Contains(stderr, "--output is table or json") || stdout != "" {
			t.Errorf("%s -o yaml: %d, %q, %q", c.CommandPath(), code, stdout, stderr)
		}
	})
}
