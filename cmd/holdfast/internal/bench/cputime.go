package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/<pid>/stat, the same on every Linux.
const tick = 10 * time.Millisecond

// cpuOf is the processor time that another process has taken so far.
func cpuOf(pid int) (time.Duration, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the processor time of a node: %w", err)
	}
	// The name in parentheses may have anything in it; user and system time are the
	// 12th and 13th field behind it.
	_, rest, _ := strings.Cut(string(raw), ") ")
	w := strings.Fields(rest)
	if len(w) < 13 {
		return 0, fmt.Errorf("%s has %d fields", path, len(w))
	}
	var sum time.Duration
	for _, text := range w[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
