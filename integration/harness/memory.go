package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ResidentBytes is the memory of a process that is in use now.
func ResidentBytes(pid int) (int64, error) { return statusBytes(pid, "VmRSS") }

// statusBytes is a line of /proc/PID/status in kB.
func statusBytes(pid int, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), name+":")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("no %s of process %d", name, pid)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}

// limitData sets RLIMIT_DATA of a process for good; 0 leaves it.
func limitData(pid int, bytes uint64) error {
	if bytes == 0 {
		return nil
	}
	limit := &unix.Rlimit{Cur: bytes, Max: bytes}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, limit, nil); err != nil {
		return fmt.Errorf("set RLIMIT_DATA of process %d: %w", pid, err)
	}
	return nil
}

// Peak is the most memory that was seen of a process: what RLIMIT_DATA counts, and
// what of it was resident.
type Peak struct{ Data, Anonymous int64 }

// WatchMemory looks at the memory of a process until stop is called or the test ends.
func WatchMemory(t testing.TB, pid int) (stop func() Peak) {
	done := make(chan struct{})
	var peak Peak
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			data, _ := statusBytes(pid, "VmData") // a process that is gone has none
			anonymous, _ := statusBytes(pid, "RssAnon")
			peak = Peak{max(peak.Data, data), max(peak.Anonymous, anonymous)}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	stop = sync.OnceValue(func() Peak { close(done); wg.Wait(); return peak })
	t.Cleanup(func() { stop() })
	return stop
}
