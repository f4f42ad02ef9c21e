// Package testport gives tests ports that stay theirs.
//
// A node that is killed and started again needs the port that it had, which port 0
// would not give it, and in between nobody may take it: a node of another test there
// is one of another cluster to the node's peers. So a port belongs to a test process
// from when it is given out until the process ends, whether somebody listens on it or
// not: the process holds the UDP port of the same number. The kernel lets go of that
// whatever ends the process, it counts as far as the TCP port does, and nothing else
// here uses UDP.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The range lies below that of outgoing connections (from 32768), so that no client
// has the port of a node which is started again; and beside the ports that `holdfast
// cluster start` takes (from 12000) and those of the end-to-end tests' Kafka (from
// 19092), which hold nothing.
const from, until = 20000, 32000

var (
	mu sync.Mutex
	// held are the ports given out, until this process ends.
	held = map[int]net.PacketConn{}
)

// Free returns n loopback addresses that nobody listens on and that no test process
// has been given, this one or another.
func Free(t testing.TB, n int) []string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	var out []string
	for tries := 0; len(out) < n; tries++ {
		if tries > 4*(until-from) {
			t.Fatalf("found no %d free ports from %d to %d", n, from, until)
		}
		port := from + rand.IntN(until-from)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if hold, err := take(address); err == nil {
			held[port] = hold
			out = append(out, address)
		}
	}
	return out
}

// take holds a port if nobody listens on it.
func take(address string) (net.PacketConn, error) {
	hold, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		_ = hold.Close() // it was only held
		return nil, err
	}
	return hold, l.Close()
}
