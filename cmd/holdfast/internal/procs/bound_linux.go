package procs

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

// PR_SET_PDEATHSIG fires when the *thread* that forked ends, and Go ends
// threads when it likes. So one goroutine owns a thread for the life of this
// process and does every such start.
var (
	boundOnce   sync.Once
	boundStarts chan boundStart
)

type boundStart struct {
	cmd  *exec.Cmd
	done chan error
}

func startBound(cmd *exec.Cmd) error {
	boundOnce.Do(func() {
		boundStarts = make(chan boundStart)
		bug.Go(func() {
			runtime.LockOSThread()
			for s := range boundStarts {
				s.done <- s.cmd.Start()
			}
		})
	})
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	s := boundStart{cmd: cmd, done: make(chan error)}
	boundStarts <- s
	return <-s.done
}
