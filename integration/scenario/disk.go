package scenario

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// exitMustNotGoOn is the status of a node that must not go on (raftstore's
// DESIGN.md).
const exitMustNotGoOn = 70

// lead makes a node the leader.
func lead(t *testing.T, c *harness.Cluster, node int) harness.Leadership {
	t.Helper()
	var l harness.Leadership
	harness.Until(t, c.Node(node).Name+" to lead", func() error {
		if l = c.Leader(); l.Index == node {
			return nil
		}
		return errorf("%s leads: %v", l.Name, c.Transfer(l.Index, node))
	})
	return l
}

// HungDisk stops the disk of the leader. A write that does not return ends the
// node, another one leads, and nothing that was acknowledged is lost; when the
// disk works again the node is started and catches up (invariant 9).
func HungDisk(t *testing.T, c *harness.Cluster, node int, disk *harness.Disk) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 100, Pause: slowTraffic})
	f.WaitAcked(50)
	old := lead(t, c, node)
	f.WaitAcked(50)
	mark := f.MarkNow(0)
	disk.Hang()
	next := c.WaitForNewLeader(old)
	gap := mark.Gap()
	f.WaitAcked(50)
	disk.Unhang() // a process in a write cannot end before
	code := c.WaitExit(node)
	log := c.Log(node)
	if code != exitMustNotGoOn || !strings.Contains(log, "the disk hangs") {
		t.Errorf("%s ended with status %d, want %d with the reason in its log:\n%s", old.Name, code, exitMustNotGoOn, lastLines(log))
	}
	c.Start(node)
	c.WaitCaughtUp(node)
	checkFlusher(t, f)
	c.VerifyReplicas()
	t.Logf("the disk of %s hung in term %d, %s led in term %d; %s to the next commit", old.Name, old.Term, next.Name, next.Term, gap)
}

// FullDisk fills the disk of a node, first of a follower, then of the leader:
// the node ends and says why, the others go on. Started too early it says so
// again; with room it is started and catches up.
func FullDisk(t *testing.T, c *harness.Cluster, node int, disk *harness.Disk) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 100, Pause: slowTraffic, Addresses: func(int) []string { return c.Addresses((node + 1) % c.Size()) }})
	for _, leads := range []bool{false, true} {
		f.WaitAcked(50)
		if leads {
			lead(t, c, node)
		} else {
			lead(t, c, (node+1)%c.Size())
		}
		f.WaitAcked(50)
		mark := f.MarkNow(0)
		disk.Fill()
		full := c.WaitExit(node)
		log := c.Log(node)
		gap := mark.Gap()
		if full != exitMustNotGoOn || !strings.Contains(log, "no space left on device") {
			t.Errorf("%s ended with status %d, want %d with the reason in its log:\n%s", c.Node(node).Name, full, exitMustNotGoOn, lastLines(log))
		}
		f.WaitAcked(50)
		c.Start(node)
		early := c.WaitExit(node)
		again := strings.TrimPrefix(c.Log(node), log)
		if early == 0 || !strings.Contains(again, "no space left on device") {
			t.Errorf("started on a full disk it ended with status %d:\n%s", early, lastLines(again))
		}
		f.WaitAcked(50)
		disk.MakeRoom()
		c.Start(node)
		c.WaitCaughtUp(node)
		t.Logf("full disk (the leader's: %v): the node ended with %d, %s to the next commit; started too early it ended with %d: %s", leads, full, gap, early, lastLine(again))
	}
	checkFlusher(t, f)
	c.VerifyReplicas()
}

func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// HungStore is HungDisk for nodes in process, whose log store hangs by a hook:
// hang and release are called with the node to choose.
func HungStore(t *testing.T, c *harness.Cluster, hang, release func(node int), gaveUp func(node int) string) {
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "busy", CheckpointMs: 100, Pause: slowTraffic})
	for range 2 {
		f.WaitAcked(50)
		old := c.Leader()
		mark := f.MarkNow(0)
		hang(old.Index)
		harness.Until(t, "the node with the hung store to give up", func() error {
			if gaveUp(old.Index) == "" {
				return errorf("it goes on")
			}
			return nil
		})
		if why := gaveUp(old.Index); !strings.Contains(why, "the disk hangs") {
			t.Errorf("it gave up because: %s", why)
		}
		release(old.Index)
		c.Kill(old.Index) // a process would have ended
		next := c.WaitForNewLeader(old)
		t.Logf("the store of %s hung in term %d, %s led in term %d; %s to the next commit", old.Name, old.Term, next.Name, next.Term, mark.Gap())
		c.Start(old.Index)
		c.WaitCaughtUp(old.Index)
	}
	checkFlusher(t, f)
	c.VerifyReplicas()
}
