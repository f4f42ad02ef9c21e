package scenario

import (
	"fmt"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// HostLost kills the node that hosts a job without checkpoints on each of the
// backends. The job on memory goes on and has every record once. The others are
// suspended with STATE_LOST, are not resumed as if nothing were lost, and go on from
// empty on another node when that is accepted: once by a node that stays away, once by
// one that is started again at once.
func HostLost(t *testing.T, c *harness.Cluster, backends []string) {
	host := 0
	var jobs []*lostJob
	for _, b := range backends {
		jobs = append(jobs, startLost(t, c, b, host))
	}
	for _, j := range jobs {
		j.waitOn(host)
	}
	d := c.MustDescribe(jobs[0].cfg.Job)
	id, name := d.Subtasks[0].NodeId, d.Subtasks[0].NodeName
	c.Kill(host)
	for _, j := range jobs {
		j.after(fmt.Sprintf("nothing was heard for the session timeout of %s from node %s, which alone has the state of a job without checkpoints", c.SessionTimeout, name), id)
	}
	c.Start(host)
	c.WaitCaughtUp(host)

	restartHosts(c, jobs)
	for _, j := range jobs {
		j.stop()
		if j.memory() {
			t.Logf("%s: %d records counted exactly once", j.backend, harness.Sum(j.feed.CheckFinal(c, j.cfg.Job, nil)))
		}
	}
	c.VerifyReplicas()
}

// restartHosts kills each node that has one of the jobs and starts it at once, before
// its silence is noticed: the new process says that the old one is gone.
func restartHosts(c *harness.Cluster, jobs []*lostJob) {
	seen := map[*lostJob]bool{}
	for _, j := range jobs {
		if j.memory() || seen[j] {
			continue
		}
		st := c.MustDescribe(j.cfg.Job).Subtasks[0]
		var here []*lostJob
		for _, other := range jobs {
			if !other.memory() && !seen[other] && c.MustDescribe(other.cfg.Job).Subtasks[0].NodeId == st.NodeId {
				here, seen[other] = append(here, other), true
			}
		}
		host := c.NodeIndex(st.NodeId)
		c.Restart(host)
		for _, j := range here {
			j.after(fmt.Sprintf("the process of node %s that had the state is gone, and the job runs without checkpoints", st.NodeName), st.NodeId)
		}
		c.WaitCaughtUp(host)
	}
}

type lostJob struct {
	t       *testing.T
	c       *harness.Cluster
	backend string
	feed    *harness.Feed
	stop    func()
	cfg     harness.OperatorConfig
}

func startLost(t *testing.T, c *harness.Cluster, backend string, host int) *lostJob {
	j := &lostJob{t: t, c: c, backend: backend, feed: harness.NewFeed(t, 1, 20)}
	j.stop = j.feed.Flow(1, traffic)
	j.cfg = j.feed.Operator("lost-" + backend)
	j.cfg.StateBackend = backend
	harness.StartOperator(t, j.cfg, c.Addresses(host))
	return j
}

func (j *lostJob) memory() bool { return j.backend == "memory" }

// waitOn waits until the job has counted records on a node.
func (j *lostJob) waitOn(host int) {
	j.t.Helper()
	j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	j.c.WaitCounted(j.cfg.Job, 50)
	if at := j.c.MustDescribe(j.cfg.Job).Subtasks[0].NodeName; at != j.c.Node(host).Name {
		j.t.Fatalf("%s is on %s, not on %s", j.cfg.Job, at, j.c.Node(host).Name)
	}
}

// after looks at the job after the death of its host.
func (j *lostJob) after(why, node string) {
	j.t.Helper()
	if j.memory() {
		j.c.WaitCounted(j.cfg.Job, 50)
		return
	}
	d := j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	if d.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST || d.Reason.Message != why || d.Reason.Metadata["node"] != node {
		j.t.Errorf("%s is suspended with %v\nwant STATE_LOST, node %s: %s", j.cfg.Job, d.Reason, node, why)
	}
	refused := harness.FailureOf(j.c.ResumeJob(j.cfg.Job, false))
	want := fmt.Sprintf("the state of subtask 0 of %q is lost; `holdfast resume --accept-gap` lets job %q go on with that state empty, `holdfast cancel` ends it", harness.OperatorSource, j.cfg.Job)
	if refused.Reason != "STATE_LOST" || refused.Message != want {
		j.t.Errorf("resume of %s is refused with %+v\nwant STATE_LOST: %s", j.cfg.Job, refused, want)
	}
	if err := j.c.ResumeJob(j.cfg.Job, true); err != nil {
		j.t.Fatalf("resume %s with the gap: %v", j.cfg.Job, err)
	}
	d = j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	j.c.WaitCounted(j.cfg.Job, 20)
	j.t.Logf("%s: %s; goes on from empty on %s", j.cfg.Job, why, d.Subtasks[0].NodeName)
}
