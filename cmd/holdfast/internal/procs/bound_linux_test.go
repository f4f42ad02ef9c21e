package procs

import (
	"strconv"
	"syscall"
	"testing"
)

func TestDieWithParent_KernelEndsTheChild(t *testing.T) {
	parent, line := child(t, "parent")
	pid, err := strconv.Atoi(line)
	if err != nil || !Is(pid, "grandchild") {
		t.Fatalf("no grandchild %q", line)
	}
	if err := parent.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := WaitGone(pid, "grandchild", waitLimit); err != nil {
		t.Fatal(err)
	}
}
