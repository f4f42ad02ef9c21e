package harness

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// GuardPid has a process killed if the test binary dies: the one with this pid,
// if its command line then still contains mark.
func GuardPid(t testing.TB, pid int, mark string) {
	t.Helper()
	in, err := guard()
	if err == nil {
		_, err = fmt.Fprintf(in, "%d %s\n", pid, mark)
	}
	if err != nil {
		t.Fatalf("guard process %d: %v", pid, err)
	}
}

// GuardMain is the guard: it notes pids from its standard input and ends those
// processes when that is closed.
func GuardMain() {
	marks := map[int]string{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var pid int
		rest := ""
		if first, mark, ok := strings.Cut(in.Text(), " "); ok {
			rest = mark
			_, _ = fmt.Sscan(first, &pid) // 0 stays 0
		}
		if pid > 1 && rest != "" {
			marks[pid] = rest
		}
	}
	for pid, mark := range marks {
		KillMarked(pid, mark)
	}
}

// KillMarked kills a process if its command line contains mark: a pid alone may
// belong to somebody else by now.
func KillMarked(pid int, mark string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && strings.Contains(strings.ReplaceAll(string(raw), "\x00", " "), mark) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile at worst
	}
}
