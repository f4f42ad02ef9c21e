package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/democheck"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
)

// Result is the last line of the demo.
type Result struct {
	// Demo is "ok" or "failed".
	Demo          string `json:"demo"`
	Records       int64  `json:"records"`
	Lost          int64  `json:"lost"`
	DoubleCounted int64  `json:"double_counted"`
	LeaderKills   int    `json:"leader_kills"`
	OperatorKills int    `json:"operator_kills"`
	HostKills     int    `json:"host_kills"`
	Reprinted     int64  `json:"reprinted"`
	LongestGapMs  int64  `json:"longest_gap_ms"`
	ReplicasEqual bool   `json:"replicas_equal"`
	Checkpoints   uint64 `json:"checkpoints"`
	DurationMs    int64  `json:"duration_ms"`
	Kills         []Kill `json:"kills"`
	Error         string `json:"error,omitempty"`
}

// Kill is one SIGKILL and what it cost.
type Kill struct {
	// Killed is leader, operator or host.
	Killed string `json:"killed"`
	Pid    int    `json:"pid"`
	// GapMs is the longest time without a newly counted record, from the kill
	// until a checkpoint completed with everything back.
	GapMs int64 `json:"gap_ms"`
	// LeaderMs is how long there was no leader.
	LeaderMs int64 `json:"leader_ms,omitempty"`
	// CheckpointMs is how long it took until the next checkpoint was complete.
	CheckpointMs int64 `json:"checkpoint_ms"`

	at time.Time
	// checkpoint is the newest completed one before the kill.
	checkpoint uint64
}

// drain stops the traffic and waits until all of it was counted, printed and
// checkpointed.
func (d *demo) drain(ctx context.Context) error {
	flush, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := d.slowly("the last records to be acknowledged", func() error { return d.traffic.pause(flush) }); err != nil {
		return err
	}
	want, total := d.traffic.counts()
	d.say("the traffic stops after %d records", total)
	// A count that never comes is for the checker to put in numbers.
	late := d.until(ctx, "every record to be counted and printed", func(context.Context) (bool, error) {
		return d.watch.reached(want), d.watch.failure()
	})
	if late != nil {
		return errors.Join(late, d.check(ctx))
	}
	done, err := jobs.TakeCheckpoint(ctx, d.api, jobName)
	if err != nil {
		return fmt.Errorf("take the last checkpoint: %w", err)
	}
	d.say("all of them are counted and printed; checkpoint %d has them", done.GetId())
	job, err := d.describe(ctx)
	if err != nil {
		return err
	}
	d.result.Checkpoints = job.GetCheckpointCounts().GetCompleted()
	return nil
}

// check lets a process that shares nothing with the operators judge.
func (d *demo) check(ctx context.Context) error {
	report, err := d.runChecker(ctx)
	if err != nil {
		return fmt.Errorf("the checker: %w", err)
	}
	_, total := d.traffic.counts()
	r := &d.result
	r.Records, r.Lost, r.DoubleCounted, r.Reprinted = report.Records, report.Lost, report.DoubleCounted, report.Reprinted
	r.ReplicasEqual = report.ReplicasEqual
	for _, k := range r.Kills {
		r.LongestGapMs = max(r.LongestGapMs, k.GapMs)
	}
	for _, p := range report.Problems {
		d.bad("%s", p)
	}
	switch {
	case !report.OK:
		return errors.New("the counts are wrong: " + strings.Join(report.Problems, "; "))
	case report.Records != total:
		return fmt.Errorf("the topic holds %d records; %d were produced and acknowledged", report.Records, total)
	}
	d.good("a checker read the topic anew: %d records of %d words, 0 lost, 0 counted twice; %d lines printed again after the rollback",
		report.Records, report.Words, report.Reprinted)
	d.good("the replicas on %d nodes are equal", report.Replicas)
	return nil
}

func (d *demo) runChecker(ctx context.Context) (*democheck.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.holdfast, "demo-check",
		"--address", strings.Join(d.cluster.Addresses(), ","),
		"--bootstrap-servers", d.brokers(), "--topic", topic,
		"--job", jobName, "--uid", stateUID, "--state", stateName,
		"--output-dir", d.outputDir(), "--replicas", strconv.Itoa(nodeCount), "-o", "json")
	cmd.Env = append(os.Environ(), withoutTLS()...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := d.slowly("the checker", cmd.Run)
	report := &democheck.Report{}
	// With wrong counts it prints a report too, and exits with 1.
	if jsonErr := json.Unmarshal(stdout.Bytes(), report); jsonErr != nil {
		return nil, fmt.Errorf("no report: %w: %s", errors.Join(err, jsonErr), strings.TrimSpace(stderr.String()))
	}
	if err != nil && report.OK {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return report, nil
}

// play leaves everything running until ctx ends, with traffic, and says what
// to try.
func (d *demo) play(ctx context.Context) {
	d.traffic.start(ctx)
	dir, address := d.cluster.Dir(), strings.Join(d.cluster.Addresses(), ",")
	d.text(`
It goes on running, with traffic, until Ctrl-C. In another terminal:

  export HOLDFAST_ADDRESS=%s
  %[2]s cluster status --dir %[3]s
  %[2]s describe %[4]s
  %[2]s state list %[4]s
  %[2]s checkpoint %[4]s
  %[2]s node kill n1 --dir %[3]s
  %[2]s node start n1 --dir %[3]s
  tail -f %[5]s/*.out

`, address, d.holdfast, dir, jobName, d.outputDir())
	d.cfg.Verdict(d.result)
	<-ctx.Done()
}
