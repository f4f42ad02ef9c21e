package harness

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// EnvGuard turns a test binary into the guard of another one (see testop.Main).
const EnvGuard = "HOLDFAST_TEST_GUARD"

// guard is a process that outlives the test binary for a moment: it kills what
// the test has started by way of other programs, which no parent-death signal
// reaches, when the test binary dies without cleaning up.
var guard = sync.OnceValues(func() (io.Writer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), EnvGuard+"=1")
	// A session of its own: what ends the test's process group spares the guard.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return in, cmd.Start()
})

// Guard has processes killed if the test binary dies: those whose pids are in a
// file then, alone or as "pid" in JSON, if their command line contains mark. The
// file need not be there yet; its name has no spaces.
func Guard(t testing.TB, file, mark string) {
	t.Helper()
	in, err := guard()
	if err == nil {
		_, err = fmt.Fprintf(in, "%s %s\n", file, mark)
	}
	if err != nil {
		t.Fatalf("guard the processes of %s: %v", file, err)
	}
}

// GuardMain is the guard: it notes names of files from its standard input and,
// when that is closed, ends the processes whose pids are in those files.
func GuardMain() {
	marks := map[string]string{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if file, mark, ok := strings.Cut(in.Text(), " "); ok && mark != "" {
			marks[file] = mark
		}
	}
	for file, mark := range marks {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it was taken down in order
		}
		for _, m := range pidPattern.FindAllSubmatch(raw, -1) {
			if pid, err := strconv.Atoi(string(m[1])); err == nil && pid > 1 {
				killMarked(pid, mark)
			}
		}
	}
}

// pidPattern finds a pid that is alone in its file, and those of JSON.
var pidPattern = regexp.MustCompile(`(?:^|"pid":\s*)(\d+)`)

// killMarked kills a process if its command line contains mark: a pid alone may
// belong to somebody else by now.
func killMarked(pid int, mark string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && strings.Contains(strings.ReplaceAll(string(raw), "\x00", " "), mark) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile at worst
	}
}
