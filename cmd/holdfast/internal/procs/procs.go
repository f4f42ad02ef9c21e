// Package procs starts processes, watches them and ends them by pid. A process
// that somebody else may have started is signalled only after its command line
// has been looked at: a pid alone may belong to another program by now.
package procs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

// Spec is a process to start, in a session of its own so that a terminal's
// Ctrl-C does not reach it.
type Spec struct {
	Path string
	Args []string
	// Env is added to this process's environment and wins over it.
	Env []string
	// Stdout and Stderr stay the caller's to close; nil is /dev/null.
	Stdout, Stderr *os.File
	// DieWithParent lets the kernel end the process with SIGKILL if this one
	// dies without having ended it. Linux only; elsewhere it does nothing.
	DieWithParent bool
}

// Process is a child of this process. Safe for concurrent use.
type Process struct {
	pid  int
	done chan struct{}
	exit Exit
}

// Exit tells how a process ended.
type Exit struct {
	// Code is its exit code, -1 if a signal ended it.
	Code int
	// Signal is 0 if it ended by itself.
	Signal syscall.Signal
}

// OK reports an end by itself with code 0.
func (e Exit) OK() bool { return e.Code == 0 && e.Signal == 0 }

// String is "exit code 1" or "SIGKILL".
func (e Exit) String() string {
	if e.Signal == 0 {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	if name := unix.SignalName(e.Signal); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(e.Signal))
}

// Start starts a process and reaps it when it ends.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	// A typed nil in these interfaces would not be nil.
	if spec.Stdout != nil {
		cmd.Stdout = spec.Stdout
	}
	if spec.Stderr != nil {
		cmd.Stderr = spec.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := cmd.Start
	if spec.DieWithParent {
		start = func() error { return startBound(cmd) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	p := &Process{pid: cmd.Process.Pid, done: make(chan struct{})}
	bug.Go(func() { p.wait(cmd) })
	p.awaitIdentity()
	return p, nil
}

// identityLimit is far more than exec needs to put the arguments in place.
const identityLimit = time.Second

// awaitIdentity waits until the process has its command line, by which Is
// knows it: a start returns in the middle of exec, when it has none yet.
func (p *Process) awaitIdentity() {
	deadline := time.Now().Add(identityLimit)
	for p.Alive() && time.Now().Before(deadline) {
		if args, err := commandLine(p.pid); err == nil && len(args) > 0 && args[0] != "" {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *Process) wait(cmd *exec.Cmd) {
	// The error repeats what the state says, and the streams are files, so
	// nothing is copied that could fail.
	_ = cmd.Wait()
	p.exit = exitOf(cmd.ProcessState)
	close(p.done)
}

func exitOf(state *os.ProcessState) Exit {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return Exit{Code: -1, Signal: ws.Signal()}
	}
	return Exit{Code: state.ExitCode()}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how it ended; only after Done.
func (p *Process) Exit() Exit { return p.exit }

// Alive reports whether it has not ended yet.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process alone. One that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	return ignoreGone(syscall.Kill(p.pid, sig))
}

// SignalGroup sends a signal to the process and what it started in its
// session's first group, as a shell's children.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	return ignoreGone(syscall.Kill(-p.pid, sig))
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Stop asks with SIGTERM, waits for grace, and ends it with SIGKILL.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.SignalGroup(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	if err := p.SignalGroup(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}
