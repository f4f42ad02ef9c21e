package scenario

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// GarbageConnections says to both ports of a node what is no word of either
// protocol: each such connection is closed, and the node and a job on it go on
// (invariant 13).
func GarbageConnections(t *testing.T, c *harness.Cluster) {
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) },
	})
	healthy.WaitAcked(20)
	for port, address := range map[string]string{"client": c.Node(node).ClientAddress, "peer": c.Node(node).PeerAddress} {
		for name, garbage := range map[string]string{
			"HTTP/1":           "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			"zeros":            strings.Repeat("\x00", 64<<10),
			"a TLS greeting":   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 500),
			"a wrong checksum": "HFP\n\x01\x03\x00\x02\x00\x00\x00\x00\x00\x00",
			"a future version": "HFP\n\xff\x03\x00\x02\x00\x00\x00\x00\x00\x00",
		} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(harness.Patience())); err != nil {
				t.Fatal(err)
			}
			// gRPC reads 24 bytes before it judges.
			_, _ = io.WriteString(conn, garbage+strings.Repeat("\x00", 24)) // it may be closed before all of it is written
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s on the %s port: the connection stays open", name, port)
			}
			_ = conn.Close() // its end was read
		}
	}
	healthy.WaitAcked(20)
	checkFlusher(t, healthy)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
}
