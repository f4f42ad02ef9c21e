package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// CommandLine is the `holdfast` of a person who looks at a cluster.
type CommandLine struct {
	t    testing.TB
	path string
	env  []string
}

// CommandLine tells the command line where the cluster is.
func (c *Cluster) CommandLine() CommandLine {
	c.t.Helper()
	return NewCommandLine(c.t, c.ClientEnv())
}

// NewCommandLine is the command line with what a person has exported.
func NewCommandLine(t testing.TB, env []string) CommandLine {
	t.Helper()
	return CommandLine{t: t, path: Binary(t, "holdfast"), env: env}
}

// Run runs a command to its end.
func (l CommandLine) Run(args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	cmd := exec.Command(l.path, args...)
	cmd.Env = append(os.Environ(), l.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("holdfast %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Must runs a command that must end with exit code 0.
func (l CommandLine) Must(args ...string) string {
	l.t.Helper()
	out, errs, code := l.Run(args...)
	if code != 0 {
		l.t.Fatalf("holdfast %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// JSON is Must with -o json, read into a value.
func (l CommandLine) JSON(to any, args ...string) {
	l.t.Helper()
	out := l.Must(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), to); err != nil {
		l.t.Fatalf("holdfast %s -o json: %v\n%s", strings.Join(args, " "), err, out)
	}
}
