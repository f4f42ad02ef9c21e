package cli

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// onTerminal runs the command line with a terminal for stdout and stderr.
func onTerminal(t *testing.T, env []string, args ...string) (*growing, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), childEnv+"=main", "TERM=xterm"), env...)
	master, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	out := &growing{}
	go func() { _, _ = io.Copy(out, master) }() // EIO when the terminal is gone
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // done already, mostly
		_ = cmd.Wait()
		master.Close()
	})
	return out, cmd
}

func hasAll(s ...string) func(string) bool {
	return func(text string) bool {
		for _, x := range s {
			if !strings.Contains(text, x) {
				return false
			}
		}
		return true
	}
}

func TestTerminal_ColoursOnlyThere(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	colour := "\x1b[32mRUNNING\x1b[0m"
	out, _ := onTerminal(t, nil, "list", "--address", f.address)
	out.until(t, "colours on a terminal", hasAll(colour, "\x1b[1mNAME\x1b[0m"))
	for name, c := range map[string]struct {
		env  []string
		args []string
	}{
		"NO_COLOR":   {[]string{"NO_COLOR="}, nil},
		"--no-color": {nil, []string{"--no-color"}},
		"dumb":       {[]string{"TERM=dumb"}, nil},
		"json":       {nil, []string{"-o", "json"}},
	} {
		out, _ := onTerminal(t, c.env, append([]string{"list", "--address", f.address}, c.args...)...)
		out.until(t, "a list", hasAll("RUNNING", "0123456789abcdef"))
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: %q", name, out.String())
		}
	}
	if _, stdout, _ := invoke(f, "list"); strings.Contains(stdout, "\x1b") {
		t.Errorf("in a pipe: %q", stdout)
	}
}

func TestTerminal_WatchDrawsInPlace(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	out, cmd := onTerminal(t, nil, "list", "--watch", "--address", f.address)
	out.until(t, "the first picture", hasAll("\x1b[2J\x1b[H", "Ctrl-C ends", "counts"))
	f.addJob("second")
	out.until(t, "the second picture", func(s string) bool { return strings.Count(s, "\x1b[H") == 2 && strings.Contains(s, "second") })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("Ctrl-C: %v", err)
	}
}

// What takes longer than two seconds tells so: on one line of a terminal, and in
// lines where stderr is a pipe.
func TestTerminal_Progress(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	f.hang.Store(true)
	args := []string{"list", "--address", f.address, "--timeout", "1m"}
	out, _ := onTerminal(t, nil, args...)
	out.until(t, "progress on one line", hasAll("\r\x1b[Kholdfast: listing the jobs ("))
	if strings.Contains(out.String(), "\n") {
		t.Errorf("the progress takes more than a line: %q", out.String())
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=main")
	stderr := &growing{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	stderr.until(t, "progress in lines", hasAll("holdfast: listing the jobs (", " s)\n"))
	if strings.Contains(stderr.String(), "\x1b") {
		t.Errorf("%q", stderr.String())
	}
}
