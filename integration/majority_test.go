package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// A minority that stays away after everything was killed keeps nobody from
// coming back: the others know their cluster from their own disks.
func TestAllNodesKilled_MajorityComesBackAlone(t *testing.T) {
	c := harness.InProcess(t, harness.Options{})
	f := harness.StartFlusher(c, harness.FlusherConfig{CheckpointMs: 50})
	f.WaitAcked(20)
	c.KillAll()
	c.Start(0)
	c.Start(1)
	c.Leader()
	f.WaitAcked(20)
	f.Check()
}
