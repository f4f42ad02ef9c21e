package scenario

import (
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ZombieWithCheckpoints stops an operator process for longer than the session
// timeout: a standby takes over. When the zombie wakes, nothing that it still
// sends counts (invariant 1), it serves as a standby, and may take over again.
func ZombieWithCheckpoints(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 1, 20)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 100
	zombie, standby, attempt := stopAndTakeOver(t, c, cfg)
	feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", 0))
	wake(t, c, zombie, "counter")
	feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", 0))
	standby.Kill()
	again := waitAttempt(c, "counter", attempt)
	stop()
	t.Logf("attempt %d took over; then the zombie did as attempt %d; %d records counted exactly once",
		attempt, again, harness.Sum(feed.CheckFinal(c, "counter", nil)))
	c.VerifyReplicas()
}

// ZombieWithoutCheckpoints is the same without checkpoints: the state does not
// change any more when the zombie wakes, and no number is printed by both.
func ZombieWithoutCheckpoints(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 1, 20)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.Earliest, cfg.Print = false, true
	zombie, standby, attempt := stopAndTakeOver(t, c, cfg)
	c.WaitCounted("counter", 50)
	stop()
	quiet := harness.Sum(waitQuiet(c, "counter"))
	wake(t, c, zombie, "counter")
	if again := harness.Sum(waitQuiet(c, "counter")); again != quiet {
		t.Errorf("the state counted %d before the zombie woke and %d after it", quiet, again)
	}
	standby.Kill()
	waitAttempt(c, "counter", attempt)
	type number struct {
		key   string
		count int64
	}
	printed := map[number]bool{}
	for _, o := range []*harness.Operator{zombie, standby} {
		lines, err := harness.ParseLines(o.Output())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			n := number{l.Key, l.Count}
			if printed[n] {
				t.Errorf("(%s,%d) was printed twice", l.Key, l.Count)
			}
			printed[n] = true
		}
	}
	t.Logf("%d numbers printed, each once; the state counted %d", len(printed), quiet)
	if int64(len(printed)) > quiet {
		t.Errorf("%d numbers were printed and only %d are in the state", len(printed), quiet)
	}
}

// stopAndTakeOver starts two operators, stops the one that works, and waits
// until the other one has its work.
func stopAndTakeOver(t *testing.T, c *harness.Cluster, cfg harness.OperatorConfig) (zombie, standby *harness.Operator, attempt uint64) {
	t.Helper()
	zombie = harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCounted(cfg.Job, 50)
	attempt = c.MustDescribe(cfg.Job).Subtasks[0].Attempt
	standby = harness.StartOperator(t, cfg, c.Addresses())
	waitStandby(c, cfg.Job)
	if err := zombie.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return zombie, standby, waitAttempt(c, cfg.Job, attempt)
}

// wake continues a stopped process and waits until it stands by.
func wake(t *testing.T, c *harness.Cluster, o *harness.Operator, job string) {
	t.Helper()
	if err := o.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitStandby(c, job)
}

func waitStandby(c *harness.Cluster, job string) {
	c.WaitJob(job, "a standby", func(d *holdfastv1.JobDescription) error {
		if d.StandbySlots == 0 {
			return errorf("standby slots: %d", d.StandbySlots)
		}
		return nil
	})
}

// waitAttempt waits until the first subtask runs in a later attempt.
func waitAttempt(c *harness.Cluster, job string, after uint64) uint64 {
	d := c.WaitJob(job, "a new attempt", func(d *holdfastv1.JobDescription) error {
		if st := d.Subtasks[0]; st.Attempt <= after || st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			return errorf("attempt %d is %s", st.Attempt, st.Status)
		}
		return nil
	})
	return d.Subtasks[0].Attempt
}

// waitQuiet waits until a job's state is the same in many reads.
func waitQuiet(c *harness.Cluster, job string) map[string]int64 {
	ref := harness.StateRef{Job: job, Operator: harness.OperatorUID, State: harness.OperatorState}
	last, same := int64(-1), 0
	for same < 100 {
		now := harness.Sum(c.Counts(ref))
		if now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
	return c.Counts(ref)
}

// LeaderFrozen stops the leader with SIGSTOP and continues it when another one
// leads: what it still believes changes nothing. Processes only.
func LeaderFrozen(t *testing.T, c *harness.Cluster) {
	away := harness.StartFlusher(c, harness.FlusherConfig{Job: "away", CheckpointMs: 200, Pause: traffic})
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "on-the-leader", Pause: traffic, Addresses: func(int) []string { return leaderFirst(c) }})
	for range 2 {
		away.WaitAcked(20)
		f.WaitAcked(20)
		old := c.Leader()
		if !c.Freeze(old.Index) {
			t.Fatalf("nodes of this back end (%s) cannot be stopped", c.Backend.Kind())
		}
		next := c.WaitForNewLeader(old)
		away.WaitAcked(100)
		f.WaitAcked(100)
		c.Thaw(old.Index)
		c.WaitCaughtUp(old.Index)
		t.Logf("%s was stopped in term %d; %s led in term %d", old.Name, old.Term, next.Name, next.Term)
	}
	checkFlusher(t, away)
	checkFlusher(t, f)
	c.VerifyReplicas()
}
