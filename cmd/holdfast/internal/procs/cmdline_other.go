//go:build !linux

package procs

import (
	"os/exec"
	"strconv"
	"strings"
)

// Without /proc the arguments come from ps, which joins them by spaces: an
// argument with a space in it is not found, and its process is left alone.
func commandLine(pid int) ([]string, error) {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return strings.Fields(string(out)), err
}

// exiting cannot be seen without /proc.
func exiting(int) bool { return false }
