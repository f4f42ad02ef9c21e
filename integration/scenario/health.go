package scenario

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// Health follows /readyz and the metrics of a node through the loss of the
// majority and its return: a node without a leader lives, is not ready and says
// why; one that was away is ready only when it has caught up.
func Health(t *testing.T, c *harness.Cluster) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "health", CheckpointMs: 100, Pause: 4 * time.Millisecond})
	f.WaitAcked(20)
	for i := range c.Size() {
		waitReady(t, c, i, http.StatusOK, "ok")
	}
	stays, away := c.Leader().Index, c.Followers()
	for _, i := range away {
		c.Kill(i)
	}
	waitReady(t, c, stays, http.StatusServiceUnavailable, "no leader")
	if code, body, err := c.HTTP(stays, "/healthz"); err != nil || code != http.StatusOK {
		t.Errorf("/healthz of a node without a leader: %d %q %v", code, body, err)
	}
	for _, i := range away {
		c.Start(i)
	}
	for i := range c.Size() {
		waitReady(t, c, i, http.StatusOK, "ok")
	}
	f.WaitAcked(20)
	checkFlusher(t, f)
	// Between two looks an election may pass.
	harness.Until(t, "one node to say that it leads", func() error {
		leaders := 0.0
		for i := range c.Size() {
			m := c.Metrics(i)
			leaders += m["holdfast_raft_is_leader"]
			if changes, flushes := m["holdfast_raft_leader_changes_total"], m[`holdfast_coordinator_commands_applied_total{command="flush"}`]; changes < 1 || flushes < 20 {
				return fmt.Errorf("%s: %v leader changes, %v flushes", c.Node(i).Name, changes, flushes)
			}
		}
		if leaders != 1 {
			return fmt.Errorf("%v nodes say that they lead", leaders)
		}
		return nil
	})
}

func waitReady(t *testing.T, c *harness.Cluster, i, want int, says string) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("/readyz of %s to answer %d", c.Node(i).Name, want), func() error {
		code, body, err := c.HTTP(i, "/readyz")
		if err == nil && (code != want || !strings.Contains(body, says)) {
			err = fmt.Errorf("%d: %s", code, body)
		}
		return err
	})
}
