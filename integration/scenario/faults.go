package scenario

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// RandomFaults does at random what the other scenarios do one by one: kills
// nodes and operators, some at the same time, never a majority for long. In the
// end everything is counted exactly once and every checkpoint that could be
// read was one cut.
func RandomFaults(t *testing.T, c *harness.Cluster, steps int, seed uint64) {
	t.Logf("seed %d (HOLDFAST_TEST_SEED)", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "flusher", CheckpointMs: 50, Pause: traffic, Slots: 2})
	feed := harness.NewFeed(t, 2, 30)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs, cfg.Parallelism, cfg.Slots = 50, 2, 1
	operators := []*harness.Operator{}
	start := func() { operators = append(operators, harness.StartOperator(t, cfg, c.Addresses(rnd.IntN(c.Size())))) }
	for range 3 {
		start()
	}
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	checked := 0
	done := map[string]int{}
	for range steps {
		var what string
		switch n := rnd.IntN(10); {
		case n < 3:
			what = "leader killed"
			old := c.Leader()
			c.Kill(old.Index)
			c.WaitForNewLeader(old)
			c.Start(old.Index)
		case n < 5:
			what = "node killed"
			c.Restart(rnd.IntN(c.Size()))
		case n < 6:
			what = "all nodes killed"
			c.KillAll()
			c.StartAll()
		case n < 7:
			what = "node and operator killed"
			i := rnd.IntN(len(operators))
			operators[i].Kill()
			operators = append(operators[:i], operators[i+1:]...)
			c.Restart(rnd.IntN(c.Size()))
			start()
		default:
			what = "operator killed"
			i := rnd.IntN(len(operators))
			operators[i].Kill()
			operators = append(operators[:i], operators[i+1:]...)
			start()
		}
		done[what]++
		f.WaitAcked(10)
		if rnd.IntN(2) == 0 {
			c.WaitCheckpoint("counter", c.Completed("counter"))
			feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", 0))
			checked++
		}
	}
	stop()
	checkFlusher(t, f)
	t.Logf("counter: %d records counted exactly once; %d checkpoints were one cut; %d restarts; faults %v",
		harness.Sum(feed.CheckFinal(c, "counter", nil)), checked, c.MustDescribe("counter").Summary.Restarts, fmt.Sprint(done))
	c.VerifyReplicas()
}
