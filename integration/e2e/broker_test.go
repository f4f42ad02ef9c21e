package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The state of the example.
func exampleState(job string) harness.StateRef {
	return harness.StateRef{Job: job, Operator: "stateful-mapper", State: "CheckpointExample"}
}

// A broker that is not there yet is waited for; one that dies and returns costs
// nothing but the time.
func TestBroker_DownAtStartAndAgain(t *testing.T) {
	b, l := ownBroker(t), startLocal(t)
	const topic = "late-topic"
	l.startExample(b, "patient", topic, nil, "-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest")
	d := l.waitJob("patient", "a standby", func(d described) error {
		if d.Standby == 0 {
			return fmt.Errorf("standby slots: %d", d.Standby)
		}
		return nil
	})
	if d.Status != "CREATED" {
		t.Errorf("without a broker the job is %s", d.Status)
	}
	b.start()
	b.createTopic(topic, 1)
	b.produce(topic, "a", "b")
	if d := l.waitJob("patient", "a status other than CREATED", func(d described) error {
		if d.Status == "CREATED" {
			return fmt.Errorf("it is CREATED")
		}
		return nil
	}); d.Status == "FAILED" {
		// The broker was up a moment before its topic: that is an answer, too.
		t.Logf("the job asked before the topic was there: %+v", d.Reason)
		l.startExample(b, "patient", topic, nil, "-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest")
	}
	l.waitPosition("patient", 2)
	b.kill()
	newest := l.waitStatus("patient", "RUNNING").Newest
	l.waitJob("patient", "a checkpoint without a broker", func(d described) error {
		if d.Newest <= newest+1 {
			return fmt.Errorf("the newest is %d", d.Newest)
		}
		return nil
	})
	b.start()
	b.produce(topic, "c", "d")
	l.waitPosition("patient", 4)
	n := 0
	for l.outFile("patient", n+1) != "" {
		n++
	}
	got, err := l.printedBy("patient", n)
	if err != nil || len(got) != 4 || got[3].number != 4 || got[3].record != "d" {
		t.Errorf("printed %v, %v; want a to d with 1 to 4", got, err)
	}
	t.Logf("printed %v over two outages of the broker", got)
}

// Leaders, hosts and operators are killed under real traffic; what was counted
// is compared with the topic, record by record.
func TestKafka_FaultsUnderTraffic(t *testing.T) {
	for _, c := range []struct {
		name        string
		parallelism int
		partitions  int32
	}{{"OneSubtask", 1, 1}, {"CoPartitioned", 2, 4}} {
		t.Run(c.name, func(t *testing.T) { faultsUnderTraffic(t, c.parallelism, c.partitions) })
	}
}

func faultsUnderTraffic(t *testing.T, parallelism int, partitions int32) {
	b := sharedBroker(t)
	c := harness.Processes(t, harness.Options{})
	topic := b.topic(partitions)
	const job = "counted"
	stop := b.flow(topic, 200, 3000)
	var operators []*harness.Process
	start := func() {
		operators = append(operators, startExampleProcess(t, c, "-bootstrap-servers", b.address, "-topic", topic, "-job-name", job, "-group-id", job,
			"-auto-offset-reset", "earliest", "-key-by", "record", "-parallelism", fmt.Sprint(parallelism),
			"-checkpoint-enable", "-checkpoint-interval", "200"))
	}
	for range parallelism + 1 {
		start()
	}
	c.WaitStatus(job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	for round := range 3 {
		k := c.WaitCheckpoint(job, 0)
		old := c.Leader()
		c.Kill(old.Index)
		c.WaitForNewLeader(old)
		c.WaitCheckpoint(job, k.Id+1)
		c.Start(old.Index)
		operators[0].Kill()
		operators = operators[1:]
		start()
		k = c.WaitCheckpoint(job, c.Completed(job)+1)
		host := c.NodeIndex(c.MustDescribe(job).Subtasks[0].NodeId)
		if host < 0 || !c.Running(host) {
			host = round % c.Size()
		}
		c.Restart(host)
		c.WaitCheckpoint(job, k.Id+1)
	}
	stop()
	want := b.counts(topic, partitions)
	harness.Until(t, fmt.Sprintf("the %d records of the topic to be counted", harness.Sum(want)), func() error {
		got := c.Counts(exampleState(job))
		if d := harness.Difference(got, want); d != "" {
			if harness.Sum(got) > harness.Sum(want) {
				return harness.Stop("%s", d)
			}
			return fmt.Errorf("counted %d: %s", harness.Sum(got), d)
		}
		return nil
	})
	d := c.MustDescribe(job)
	t.Logf("%d records of %d keys in %d partitions counted exactly once; 3 leaders, 3 hosts and 3 operators killed; %d restarts, newest checkpoint %d",
		harness.Sum(want), len(want), partitions, d.Summary.Restarts, d.Summary.LatestCompletedCheckpoint)
	c.VerifyReplicas()
}

// startExampleProcess starts the example without a supervisor.
func startExampleProcess(t *testing.T, c *harness.Cluster, args ...string) *harness.Process {
	t.Helper()
	log := createLog(t)
	defer log.Close()
	p, err := harness.Spawn(harness.Command{
		Path: harness.Binary(t, "holdfast-example-checkpoint"), Args: args, Stdout: nil, Stderr: log,
		Env: append(c.ClientEnv(), "HOLDFAST_TASK_SLOTS=1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("operator %d, started %s: %s", p.Pid(), began.Format(time.TimeOnly), tailOf(log.Name()))
		}
	})
	return p
}
