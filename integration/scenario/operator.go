package scenario

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// OperatorKill kills operator processes of a job with checkpoints, each time
// with a standby there and with changes flushed since the newest checkpoint: the
// standby goes on from that checkpoint, and every record is counted exactly once
// (invariants 3, 4 and 10).
func OperatorKill(t *testing.T, c *harness.Cluster, kills int) {
	feed := harness.NewFeed(t, 1, 40)
	stop := feed.Flow(20, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 3_600_000
	running := harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	attempt := c.MustDescribe("counter").Subtasks[0].Attempt
	for range kills {
		standby := harness.StartOperator(t, cfg, c.Addresses())
		waitStandby(c, "counter")
		id := mustTrigger(t, c, "counter")
		k := c.ReadCheckpoint("counter", id-1)
		feed.CheckCheckpoint(c, "counter", nil, k)
		// What is flushed behind the cut must be taken back.
		ref := harness.StateRef{Job: "counter", Operator: harness.OperatorUID, State: harness.OperatorState}
		harness.Until(t, "changes behind the checkpoint", func() error {
			if now := harness.Sum(c.Counts(ref)); now <= harness.Sum(k.Counts) {
				return errorf("the live state counts %d, the checkpoint %d", now, harness.Sum(k.Counts))
			}
			return nil
		})
		running.Kill()
		began := attempt
		attempt = waitAttempt(c, "counter", began)
		st := c.MustDescribe("counter").Subtasks[0]
		if st.RestoredCheckpoint != k.ID {
			t.Errorf("the attempt began from checkpoint %d although %d was completed", st.RestoredCheckpoint, k.ID)
		}
		t.Logf("attempt %d killed; attempt %d goes on from checkpoint %d", began, attempt, st.RestoredCheckpoint)
		running = standby
		mustTrigger(t, c, "counter")
		feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", k.ID))
	}
	stop()
	t.Logf("%d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	c.VerifyReplicas()
}

// OperatorKillWithoutCheckpoints is the walk-through of the example without
// checkpoints: what is produced while no operator runs is lost, the counter goes
// on from where it was, and no printed number is repeated or taken back.
func OperatorKillWithoutCheckpoints(t *testing.T, c *harness.Cluster, kills int) {
	operatorKillWithoutCheckpoints(t, c, kills, "")
}

func operatorKillWithoutCheckpoints(t *testing.T, c *harness.Cluster, kills int, backend string) {
	feed := harness.NewFeed(t, 1, 5)
	cfg := feed.Operator("counter")
	cfg.Earliest, cfg.Print, cfg.StateBackend = false, true, backend
	want := map[string]int64{}
	printed := map[string]int64{} // newest number of each key
	lost := int64(0)
	for n := range kills + 1 {
		stop := feed.Flow(3, traffic)
		o := harness.StartOperator(t, cfg, c.Addresses(n%c.Size()))
		harness.Until(t, "50 lines of the operator", func() error {
			lines, err := harness.ParseLines(o.Output())
			if err == nil && len(lines) < 50 {
				err = errorf("%d lines; it logged: %s", len(lines), o.Log())
			}
			return err
		})
		o.Kill()
		stop()
		// State stays at the last acknowledged flush. The first printed offset
		// says where this attempt began.
		counts := settledCounts(c, "counter")
		lines, err := harness.ParseLines(o.Output())
		if err != nil {
			t.Fatal(err)
		}
		first := lines[0].Offset
		took := harness.Sum(counts) - harness.Sum(want)
		for k, n := range harness.RecordCounts(feed.Seed, map[uint32]int64{0: first}, map[uint32]int64{0: first + took}, feed.Keys) {
			want[k] += n
		}
		if d := harness.Difference(counts, want); d != "" {
			t.Fatalf("state after an attempt that counted offsets %d to %d: %s", first, first+took, d)
		}
		for _, l := range lines {
			if key := harness.RecordKey(feed.Seed, l.Partition, l.Offset, feed.Keys); key != l.Key {
				t.Fatalf("offset %d has the key %q and was printed with %q", l.Offset, key, l.Key)
			}
			if l.Count != printed[l.Key]+1 && l.Offset != first && l.Count <= printed[l.Key] {
				t.Fatalf("printed (%s,%d) after (%s,%d): a number was repeated or taken back", l.Key, l.Count, l.Key, printed[l.Key])
			}
			if l.Count > counts[l.Key] {
				t.Fatalf("printed (%s,%d), and the state has %d: a printed number was not durable", l.Key, l.Count, counts[l.Key])
			}
			if l.Count <= printed[l.Key] {
				t.Fatalf("printed (%s,%d) again", l.Key, l.Count)
			}
			printed[l.Key] = l.Count
		}
		head := feed.Heads()[0]
		feed.Produce(25)
		lost += feed.Heads()[0] - (first + took)
		t.Logf("printed %d lines from offset %d; the state counted %d of the %d records that were there", len(lines), first, took, head-first)
		// A number that was durable and not printed is skipped, so the next attempt
		// goes on after the state.
		maps.Copy(printed, counts)
	}
	t.Logf("%d records of the feed were lost between the attempts, as latest says", lost)
	c.VerifyReplicas()
}

// settledCounts reads a state that nobody writes any more, once what was in
// flight has arrived: the subtask waits.
func settledCounts(c *harness.Cluster, job string) map[string]int64 {
	c.WaitJob(job, "the subtask to wait for a process", func(d *holdfastv1.JobDescription) error {
		if st := d.Subtasks[0].Status; st != holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING {
			return errorf("it is %s", st)
		}
		return nil
	})
	return c.Counts(harness.StateRef{Job: job, Operator: harness.OperatorUID, State: harness.OperatorState})
}

// RestartStrategies lets user code fail a number of times under each strategy.
func RestartStrategies(t *testing.T, c *harness.Cluster) {
	for _, s := range []struct {
		name, strategy string
		failures       int
		want           holdfastv1.JobStatus
		restarts       uint64
	}{
		{"none", "none", 1, holdfastv1.JobStatus_JOB_STATUS_FAILED, 0},
		{"fixed-enough", "fixed-delay:3:20", 3, holdfastv1.JobStatus_JOB_STATUS_RUNNING, 3},
		{"fixed-exhausted", "fixed-delay:2:20", 3, holdfastv1.JobStatus_JOB_STATUS_FAILED, 2},
		{"exponential-enough", "exponential-delay:10:80:5", 4, holdfastv1.JobStatus_JOB_STATUS_RUNNING, 4},
		{"exponential-exhausted", "exponential-delay:10:80:2", 3, holdfastv1.JobStatus_JOB_STATUS_FAILED, 2},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := c.For(t)
			feed := harness.NewFeed(t, 1, 10)
			feed.Produce(500)
			cfg := feed.Operator(s.name)
			cfg.CheckpointMs, cfg.Restart = 50, s.strategy
			cfg.FailAt, cfg.FailFile = 300, filepath.Join(t.TempDir(), "failures")
			writeNumber(t, cfg.FailFile, s.failures)
			o := harness.StartOperator(t, cfg, c.Addresses())
			if s.want == holdfastv1.JobStatus_JOB_STATUS_FAILED {
				d := c.WaitStatus(s.name, s.want)
				if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_USER_CODE {
					t.Errorf("the job failed with %v, not with USER_CODE", d.Reason)
				}
				if code := o.WaitExit(t); code == 0 {
					t.Error("the operator of a job that failed must exit with an error")
				}
			} else {
				c.WaitStatus(s.name, s.want)
				feed.CheckFinal(c, s.name, nil)
			}
			d := c.MustDescribe(s.name)
			if d.Summary.Restarts != s.restarts {
				t.Errorf("%d restarts, want %d", d.Summary.Restarts, s.restarts)
			}
			if len(d.Exceptions) != s.failures {
				t.Errorf("%d exceptions are recorded, want %d: %v", len(d.Exceptions), s.failures, d.Exceptions)
			}
			for _, e := range d.Exceptions {
				if e.ExceptionClass != holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER || e.ProcessId == "" || c.NodeIndex(e.NodeId) < 0 ||
					e.NodeName != c.Node(c.NodeIndex(e.NodeId)).Name {
					t.Errorf("an exception of user code is told as %v", e)
				}
			}
			for _, x := range d.Exceptions {
				if x.Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_USER_CODE {
					t.Errorf("a failure of user code is recorded as %v", x.Error)
				}
			}
		})
	}
}

func writeNumber(t *testing.T, name string, n int) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strconv.Itoa(n)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// BoundedSource counts a source that ends: the job is FINISHED, its operators
// exit with success, and its state is gone with it.
func BoundedSource(t *testing.T, c *harness.Cluster) {
	for _, parallelism := range []int{1, 2} {
		job := "bounded-" + strconv.Itoa(parallelism)
		feed := harness.NewFeed(t, parallelism, 10)
		feed.Produce(1000)
		cfg := feed.Operator(job)
		cfg.CheckpointMs, cfg.Limit, cfg.Parallelism, cfg.Print = 50, 800, parallelism, true
		o := harness.StartOperator(t, cfg, c.Addresses())
		d := c.WaitStatus(job, holdfastv1.JobStatus_JOB_STATUS_FINISHED)
		if code := o.WaitExit(t); code != 0 {
			t.Errorf("the operator of a finished job exited with %d", code)
		}
		last := map[string]int64{}
		lines, err := harness.ParseLines(o.Output())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			last[l.Key] = l.Count
		}
		limits := map[uint32]int64{}
		for p := range parallelism {
			limits[uint32(p)] = 800
		}
		if diff := harness.Difference(last, harness.RecordCounts(feed.Seed, nil, limits, feed.Keys)); diff != "" {
			t.Errorf("the last numbers printed: %s", diff)
		}
		for _, st := range d.Subtasks {
			if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
				t.Errorf("subtask %d of a finished job is %s", st.Index, st.Status)
			}
		}
		t.Logf("%s: %d records, FINISHED", job, len(lines))
	}
}

// CoPartitioned runs a job with two subtasks whose partitions are their key
// groups, kills one operator of two, and compares every checkpoint.
func CoPartitioned(t *testing.T, c *harness.Cluster) {
	feed := harness.NewFeed(t, 4, 20)
	stop := feed.Flow(10, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs, cfg.Parallelism, cfg.Slots = 100, 2, 1
	one := harness.StartOperator(t, cfg, c.Addresses(0))
	harness.StartOperator(t, cfg, c.Addresses(1))
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	k := c.ReadCheckpoint("counter", 0)
	feed.CheckCheckpoint(c, "counter", nil, k)
	harness.StartOperator(t, cfg, c.Addresses(2))
	one.Kill()
	c.WaitJob("counter", "every subtask running again", func(d *holdfastv1.JobDescription) error {
		for _, st := range d.Subtasks {
			if st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING || d.Summary.Restarts == 0 {
				return errorf("subtask %d is %s, %d restarts", st.Index, st.Status, d.Summary.Restarts)
			}
		}
		return nil
	})
	for range 3 {
		k = c.ReadCheckpoint("counter", k.ID)
		feed.CheckCheckpoint(c, "counter", nil, k)
	}
	stop()
	t.Logf("%d records counted exactly once", harness.Sum(feed.CheckFinal(c, "counter", nil)))
	c.VerifyReplicas()
}
