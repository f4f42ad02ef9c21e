package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/supervise"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// view is what one node sees of the cluster.
func view(ctx context.Context, address string) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	conn, err := connect.Dial(address, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return connect.View(ctx, conn)
}

// leader waits until a node says of itself that it leads. not is the name of
// one that it must not be.
func (d *demo) leader(ctx context.Context, not string) (nodes.Node, error) {
	var found nodes.Node
	err := d.until(ctx, "a leader", func(ctx context.Context) (bool, error) {
		var term uint64
		for _, n := range d.cluster.Nodes() {
			if n.Name == not || !n.Running() {
				continue
			}
			v, err := view(ctx, n.ClientAddress)
			// Of two that say so the one of the newer term is right.
			if err == nil && v.GetLeaderId() != "" && v.GetLeaderId() == v.GetNodeId() && v.GetTerm() >= term {
				found, term = n, v.GetTerm()
			}
		}
		return found.Name != "", nil
	})
	return found, err
}

// nodeName is the name of a node id, or the id if nobody knows it now.
func (d *demo) nodeName(ctx context.Context, id string) string {
	var answer *holdfastv1.ClusterServiceDescribeResponse
	err := d.api.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = connect.View(ctx, conn)
		return err
	})
	if err == nil {
		for _, m := range answer.GetMembers() {
			if m.GetNodeId() == id {
				return m.GetName()
			}
		}
	}
	return id
}

// begin notes the time and the traffic of a kill, right before it. job is as
// it was then.
func (d *demo) begin(what string, pid int, job *holdfastv1.JobDescription) (*Kill, *gap) {
	sent, _ := d.traffic.counts()
	k := &Kill{Killed: what, Pid: pid, at: time.Now(), checkpoint: job.GetSummary().GetLatestCompletedCheckpoint()}
	return k, d.watch.begin(k.at, sent)
}

// working is the job, its running subtask and the process that runs it.
func (d *demo) working(ctx context.Context) (*holdfastv1.JobDescription, supervise.Process, error) {
	job, err := d.describe(ctx)
	if err != nil {
		return nil, supervise.Process{}, err
	}
	if running(job) == nil {
		return nil, supervise.Process{}, errors.New("the subtask does not run")
	}
	p, err := d.worker(running(job))
	return job, p, err
}

// flows waits until a record that was produced after the kill was counted and
// printed.
func (d *demo) flows(ctx context.Context, g *gap) error {
	return d.until(ctx, "the flow to go on", func(context.Context) (bool, error) {
		select {
		case <-g.flows:
			return true, nil
		default:
			return false, d.watch.failure()
		}
	})
}

// recovered waits for a checkpoint that began after all was back, and so for
// the proof that the new state of things is durable; then it ends the gap.
func (d *demo) recovered(ctx context.Context, k *Kill, g *gap) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	k.GapMs = d.watch.end(g).Milliseconds()
	var err error
	if k.CheckpointMs, err = d.nextCheckpoint(ctx, k); err != nil {
		return err
	}
	d.result.Kills = append(d.result.Kills, *k)
	d.then("the counting stood still for %d ms at most; a checkpoint was complete after %d ms", k.GapMs, k.CheckpointMs)
	return nil
}

// nextCheckpoint is the time from the kill to the completion of the next
// checkpoint, by the leader's clock, which is this machine's.
func (d *demo) nextCheckpoint(ctx context.Context, k *Kill) (int64, error) {
	list, err := jobs.Call(ctx, d.api, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.ListCheckpointsResponse, error) {
		return s.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: jobName})
	})
	if err != nil {
		return 0, err
	}
	var ended int64
	for _, c := range list.GetCheckpoints() {
		completed := c.GetStatus() == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED
		if completed && c.GetId() > k.checkpoint && (ended == 0 || c.GetEndedMs() < ended) {
			ended = c.GetEndedMs()
		}
	}
	if ended == 0 {
		return 0, fmt.Errorf("no checkpoint above %d in the history", k.checkpoint)
	}
	return ended - k.at.UnixMilli(), nil
}

// settle waits for the second checkpoint from now: the first may have begun
// before.
func (d *demo) settle(ctx context.Context) error {
	job, err := d.describe(ctx)
	if err != nil {
		return err
	}
	first := job.GetSummary().GetLatestCompletedCheckpoint()
	return d.until(ctx, "a checkpoint to complete", func(ctx context.Context) (bool, error) {
		job, err := d.describe(ctx)
		return err == nil && job.GetSummary().GetLatestCompletedCheckpoint() >= first+2, nil
	})
}

// killLeader kills the leader, waits for another and for the flow, and starts
// the node again.
func (d *demo) killLeader(ctx context.Context) error {
	old, err := d.leader(ctx, "")
	if err != nil {
		return err
	}
	job, err := d.describe(ctx)
	if err != nil {
		return err
	}
	k, g := d.begin("leader", old.Pid, job)
	if _, err := d.cluster.Kill(old.Name); err != nil {
		return err
	}
	d.result.LeaderKills++
	d.kill("the leader %s (pid %d)", old.Name, old.Pid)
	// The election and the flow are waited for at the same time: either may
	// come first.
	var leader nodes.Node
	var wg sync.WaitGroup
	var elected, flowed error
	wg.Go(bug.Guarded(func() {
		if leader, elected = d.leader(ctx, old.Name); elected == nil {
			k.LeaderMs = time.Since(k.at).Milliseconds()
			d.then("%s leads after %d ms", leader.Name, k.LeaderMs)
		}
	}))
	wg.Go(bug.Guarded(func() { flowed = d.flows(ctx, g) }))
	wg.Wait()
	if err := errors.Join(elected, flowed); err != nil {
		return err
	}
	if err := d.startAgain(ctx, old.Name); err != nil {
		return err
	}
	return d.recovered(ctx, k, g)
}

func (d *demo) startAgain(ctx context.Context, name string) error {
	began := time.Now()
	if _, err := d.cluster.Start(d.server, name); err != nil {
		return err
	}
	if err := d.slowly(name+" to serve", func() error { return d.cluster.WaitServing(ctx, stepLimit, name) }); err != nil {
		return err
	}
	for _, n := range d.cluster.Nodes() {
		if n.Name == name {
			d.then("%s is started again (pid %d) and serves after %d ms", name, n.Pid, time.Since(began).Milliseconds())
		}
	}
	return nil
}

// killOperator kills the process that counts, in the middle between two
// checkpoints, so that there is something to roll back.
func (d *demo) killOperator(ctx context.Context) error {
	if err := d.midway(ctx); err != nil {
		return err
	}
	before, worker, err := d.working(ctx)
	if err != nil {
		return err
	}
	_, repeated := d.watch.count()
	k, g := d.begin("operator", worker.Pid, before)
	if err := d.super.Kill(worker.Pid); err != nil {
		return err
	}
	d.result.OperatorKills++
	d.kill("the operator process that counts (pid %d)", worker.Pid)
	if err := d.flows(ctx, g); err != nil {
		return err
	}
	if err := d.tellTakeover(ctx, running(before).GetAttempt()); err != nil {
		return err
	}
	if err := d.recovered(ctx, k, g); err != nil {
		return err
	}
	_, now := d.watch.count()
	d.then("%d numbers were printed again after the rollback", now-repeated)
	return nil
}

// midway waits until half a second's records were counted since the checkpoint
// that was waited for before.
func (d *demo) midway(ctx context.Context) error {
	before, _ := d.watch.count()
	return d.until(ctx, "some records after the checkpoint", func(context.Context) (bool, error) {
		now, _ := d.watch.count()
		return float64(now-before) >= d.cfg.RecordsPerSecond/2, d.watch.failure()
	})
}

func (d *demo) tellTakeover(ctx context.Context, oldAttempt uint64) error {
	var now *holdfastv1.SubtaskDescription
	err := d.until(ctx, "another process to take over", func(ctx context.Context) (bool, error) {
		job, err := d.describe(ctx)
		now = running(job)
		return err == nil && now != nil && now.GetAttempt() != oldAttempt, nil
	})
	if err != nil {
		return err
	}
	taker, err := d.worker(now)
	if err != nil {
		return err
	}
	d.then("pid %d took over from checkpoint %d", taker.Pid, now.GetRestoredCheckpoint())
	return nil
}

// killHost kills the node that the operator's stream is on.
func (d *demo) killHost(ctx context.Context) error {
	before, _, err := d.working(ctx)
	if err != nil {
		return err
	}
	subtask := running(before)
	host, err := d.nodeByName(d.nodeName(ctx, subtask.GetNodeId()))
	if err != nil {
		return err
	}
	k, g := d.begin("host", host.Pid, before)
	if _, err := d.cluster.Kill(host.Name); err != nil {
		return err
	}
	d.result.HostKills++
	d.kill("%s (pid %d), the host of the operator", host.Name, host.Pid)
	if err := d.flows(ctx, g); err != nil {
		return err
	}
	if err := d.tellMove(ctx, subtask); err != nil {
		return err
	}
	if err := d.startAgain(ctx, host.Name); err != nil {
		return err
	}
	return d.recovered(ctx, k, g)
}

func (d *demo) nodeByName(name string) (nodes.Node, error) {
	for _, n := range d.cluster.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nodes.Node{}, fmt.Errorf("the job names the node %q, which is not in this cluster", name)
}

func (d *demo) tellMove(ctx context.Context, old *holdfastv1.SubtaskDescription) error {
	var now *holdfastv1.SubtaskDescription
	err := d.until(ctx, "the operator to be on another node", func(ctx context.Context) (bool, error) {
		job, err := d.describe(ctx)
		now = running(job)
		return err == nil && now != nil && now.GetNodeId() != old.GetNodeId(), nil
	})
	if err != nil {
		return err
	}
	how := "and resumed there: no rollback"
	if now.GetAttempt() != old.GetAttempt() {
		how = fmt.Sprintf("and began a new attempt from checkpoint %d", now.GetRestoredCheckpoint())
	}
	d.then("the operator went to %s %s", d.nodeName(ctx, now.GetNodeId()), how)
	return nil
}
