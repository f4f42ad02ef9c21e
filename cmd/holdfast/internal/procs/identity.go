package procs

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// ErrNotOurs is returned for a pid whose command line is not the expected one,
// or that does not exist.
var ErrNotOurs = errors.New("not a process started here")

// Is reports whether pid runs now with arg as one of its arguments. A zombie
// has no command line and so is not running.
func Is(pid int, arg string) bool {
	if pid <= 0 {
		return false
	}
	args, err := commandLine(pid)
	return err == nil && slices.Contains(args, arg)
}

// Signal sends a signal to pid if Is(pid, arg), else ErrNotOurs.
func Signal(pid int, arg string, sig syscall.Signal) error {
	if !Is(pid, arg) {
		return fmt.Errorf("pid %d: %w", pid, ErrNotOurs)
	}
	return syscall.Kill(pid, sig)
}

// pollEvery is how often a process that is no child is looked at: nobody tells
// of its end.
const pollEvery = 10 * time.Millisecond

// WaitGone waits until Is(pid, arg) is false and every thread has ended, or
// reports that this was not so after limit.
func WaitGone(pid int, arg string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for Is(pid, arg) || exiting(pid) {
		if time.Now().After(deadline) {
			return fmt.Errorf("pid %d still runs after %s", pid, limit)
		}
		time.Sleep(pollEvery)
	}
	return nil
}

// End asks pid with SIGTERM if hard is not set, waits for grace, then ends it
// with SIGKILL. A pid that is not ours any more is done already.
func End(pid int, arg string, hard bool, grace time.Duration) error {
	if !hard {
		if done, err := ended(Signal(pid, arg, syscall.SIGTERM)); done {
			return err
		}
		if WaitGone(pid, arg, grace) == nil {
			return nil
		}
	}
	if done, err := ended(Signal(pid, arg, syscall.SIGKILL)); done {
		return err
	}
	return WaitGone(pid, arg, grace)
}

// ended sorts the outcome of a signal: gone is done without an error.
func ended(err error) (bool, error) {
	if errors.Is(err, ErrNotOurs) || errors.Is(err, syscall.ESRCH) {
		return true, nil
	}
	return err != nil, err
}
