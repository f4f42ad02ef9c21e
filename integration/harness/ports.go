package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports lie below the usual range for outgoing connections (from 32768), so
// that a node which is started again does not find its port taken by a client.
const portFrom, portUntil = 10000, 30000

var (
	portsMu    sync.Mutex
	portsGiven = map[int]bool{}
)

// FreeAddresses returns n loopback addresses that nobody listens on and that
// this process has not given out before. They stay the node's own over its
// restarts, which port 0 would not.
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
		if portsGiven[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close() // only tried
		portsGiven[port] = true
		out = append(out, l.Addr().String())
	}
	return out
}
