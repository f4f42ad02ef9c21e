package procs

import (
	"bytes"
	"fmt"
	"os"
)

func commandLine(pid int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	var args []string
	for part := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte{0}), []byte{0}) {
		args = append(args, string(part))
	}
	return args, nil
}

// exiting reports whether the process has lost its memory, and so its command
// line, but not all of its threads: they may be in the middle of a write.
func exiting(pid int) bool {
	args, err := commandLine(pid)
	if err != nil || len(args) != 1 || args[0] != "" {
		return false
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(tasks) > 1
}
