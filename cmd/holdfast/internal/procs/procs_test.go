package procs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own child: with this variable it does what it says
// instead of testing.
const childEnv = "HOLDFAST_PROCS_TEST_CHILD"

const waitLimit = 20 * time.Second

func TestMain(m *testing.M) {
	switch mode := os.Getenv(childEnv); mode {
	case "":
		os.Exit(m.Run())
	case "exit":
		code, _ := strconv.Atoi(os.Getenv("CODE"))
		os.Exit(code)
	case "wait":
		fmt.Println("ready")
		<-time.After(10 * time.Minute)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		<-time.After(10 * time.Minute)
	case "parent":
		// Starts a bound child and is then killed.
		p, err := Start(Spec{Path: os.Args[0], Args: []string{"grandchild"}, Env: []string{childEnv + "=wait"}, DieWithParent: true})
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Pid())
		<-time.After(10 * time.Minute)
	}
}

// child starts a child of a mode and, for those that print, waits for its
// first line.
func child(t *testing.T, mode string, args ...string) (*Process, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := Start(Spec{Path: os.Args[0], Args: args, Env: []string{childEnv + "=" + mode, "CODE=7"}, Stdout: w, DieWithParent: true})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.SignalGroup(syscall.SIGKILL)
		waitDone(t, p)
	})
	if mode == "exit" {
		return p, ""
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	return p, strings.TrimSpace(line)
}

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(waitLimit):
		t.Fatalf("pid %d did not end within %s", p.Pid(), waitLimit)
	}
}

func TestProcess_ExitCode(t *testing.T) {
	p, _ := child(t, "exit")
	waitDone(t, p)
	if got := p.Exit(); got.Code != 7 || got.OK() || got.String() != "exit code 7" {
		t.Fatalf("%+v", got)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("a signal to one that has ended: %v", err)
	}
}

func TestProcess_StopWithSIGTERM(t *testing.T) {
	p, _ := child(t, "wait")
	if err := p.Stop(waitLimit); err != nil {
		t.Fatal(err)
	}
	if got := p.Exit(); got.String() != "SIGTERM" {
		t.Fatalf("%+v", got)
	}
}

func TestProcess_StopEndsAStubbornOne(t *testing.T) {
	p, _ := child(t, "stubborn")
	if err := p.Stop(10 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got := p.Exit(); got.String() != "SIGKILL" {
		t.Fatalf("%+v", got)
	}
}

func TestProcess_HasASessionOfItsOwn(t *testing.T) {
	p, _ := child(t, "wait")
	pgid, err := syscall.Getpgid(p.Pid())
	if err != nil || pgid != p.Pid() {
		t.Fatalf("process group %d of pid %d, %v", pgid, p.Pid(), err)
	}
}

func TestStart_NoSuchProgram(t *testing.T) {
	if _, err := Start(Spec{Path: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestIs_LooksAtTheArguments(t *testing.T) {
	p, _ := child(t, "wait", "--data-dir", "/tmp/some dir/n1")
	if !Is(p.Pid(), "/tmp/some dir/n1") {
		t.Error("its own argument is not found")
	}
	for _, arg := range []string{"/tmp/some dir/n", "/tmp/some dir/n11", "some"} {
		if Is(p.Pid(), arg) {
			t.Errorf("%q is taken for an argument", arg)
		}
	}
	for _, pid := range []int{0, -1, -p.Pid()} {
		if Is(pid, "/tmp/some dir/n1") {
			t.Errorf("pid %d is no process", pid)
		}
	}
}

func TestSignal_LeavesStrangersAlone(t *testing.T) {
	p, _ := child(t, "wait", "stranger")
	if err := Signal(p.Pid(), "ours", syscall.SIGKILL); !errors.Is(err, ErrNotOurs) {
		t.Fatalf("got %v", err)
	}
	if err := End(p.Pid(), "ours", true, waitLimit); err != nil {
		t.Fatalf("End of a stranger is nothing to do, got %v", err)
	}
	if !p.Alive() {
		t.Fatal("the stranger was ended")
	}
}

func TestEnd_EndsByPid(t *testing.T) {
	for mode, grace := range map[string]time.Duration{"wait": waitLimit, "stubborn": 50 * time.Millisecond} {
		p, _ := child(t, mode, "ours")
		if err := End(p.Pid(), "ours", false, grace); err != nil && mode == "wait" {
			t.Fatal(err)
		}
		waitDone(t, p)
	}
}

func TestFind_EnvironmentFirst(t *testing.T) {
	t.Setenv("HOLDFAST_TEST_PROGRAM", os.Args[0])
	if got, err := Find("no-such-program", "HOLDFAST_TEST_PROGRAM"); err != nil || !strings.HasSuffix(got, strings.TrimPrefix(os.Args[0], ".")) {
		t.Fatalf("%q, %v", got, err)
	}
	t.Setenv("HOLDFAST_TEST_PROGRAM", "/does/not/exist")
	if got, err := Find("sh", "HOLDFAST_TEST_PROGRAM"); err == nil {
		t.Fatalf("a wrong variable must not be passed over: %q", got)
	}
	t.Setenv("HOLDFAST_TEST_PROGRAM", "")
	sh, _ := exec.LookPath("sh")
	if got, err := Find("sh", "HOLDFAST_TEST_PROGRAM"); err != nil || got != sh {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := Find("no-such-program", "HOLDFAST_TEST_PROGRAM"); err == nil || !strings.Contains(err.Error(), "HOLDFAST_TEST_PROGRAM") {
		t.Fatalf("got %v", err)
	}
}
