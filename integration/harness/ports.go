package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Ports lie below the usual range for outgoing connections (from 32768), so
// that a node which is started again does not find its port taken by a client.
const portFrom, portUntil = 10000, 30000

var (
	portsMu sync.Mutex
	// portsHeld are the locks of the ports given out, until this process ends.
	portsHeld = map[int]*os.File{}
)

// FreeAddresses returns n loopback addresses that nobody listens on and that no
// test process has been given, this one or another. They stay the node's own
// over its restarts, which port 0 would not.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		if tries > 2000 {
			t.Fatalf("found no %d free ports from %d to %d", n, portFrom, portUntil)
		}
		port := portFrom + rand.IntN(portUntil-portFrom)
		lock := holdPort(t, port)
		if lock == nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = lock.Close() // it was only locked
			continue
		}
		_ = l.Close() // only tried
		portsHeld[port] = lock
		out = append(out, l.Addr().String())
	}
	return out
}

// holdPort takes a port among the test processes of this machine; nil if it is
// taken. The kernel lets go of it when the process ends.
func holdPort(t testing.TB, port int) *os.File {
	t.Helper()
	if portsHeld[port] != nil {
		return nil
	}
	dir := filepath.Join(os.TempDir(), "holdfast-test-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // it was never locked
		return nil
	}
	return f
}
