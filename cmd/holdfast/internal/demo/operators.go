package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/supervise"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// example is the program that counts.
const example = "holdfast-example-checkpoint"

// startOperators starts one process that works and one that stands by.
func (d *demo) startOperators(ctx context.Context) error {
	d.super = supervise.New(supervise.Config{
		Path: d.example,
		Args: []string{
			"-checkpoint-enable", "-checkpoint-interval", "1000", "-checkpoint-mode", "EXACTLY_ONCE",
			"-bootstrap-servers", d.brokers(), "-topic", topic, "-group-id", "holdfast-demo",
			"-auto-offset-reset", "earliest", "-job-name", jobName, "-key-by", "record", "-parallelism", "1",
		},
		Processes: 2, Parallelism: 1, Addresses: d.cluster.Addresses(), Env: withoutTLS(),
		Logs:    supervise.LogNames{Dir: d.outputDir(), User: d.cfg.User, Job: jobName, Host: d.cfg.Host},
		Restart: true, MinDelay: 200 * time.Millisecond, MaxDelay: 2 * time.Second, GiveUp: 5, Grace: operatorGrace,
		// Also one that a person asks to stop is followed by another.
		Over:   func(context.Context, procs.Exit, int) bool { return false },
		Report: func(ctx context.Context, id string) error { return jobs.ReportExit(ctx, d.api, id) },
	})
	d.supervise()
	var job *holdfastv1.JobDescription
	err := d.until(ctx, "the job to run with one process standing by", func(ctx context.Context) (bool, error) {
		var err error
		job, err = d.describe(ctx)
		return err == nil && running(job) != nil && job.GetStandbySlots() > 0, nil
	})
	if err != nil {
		return err
	}
	d.say("the job %s runs on %s; %s: one works, one stands by", jobName, d.nodeName(ctx, running(job).GetNodeId()), d.processList())
	return nil
}

// supervise runs the supervisor and the watcher of its output beside the demo.
func (d *demo) supervise() {
	work, stop := context.WithCancel(context.Background())
	d.stopSuper, d.superDone = stop, make(chan error, 1)
	super, done := d.super, d.superDone
	bug.Go(func() {
		err := super.Run(work)
		if err == nil {
			err = errors.New("the operator processes have ended")
		}
		done <- err
	})
	watching, stopWatch := context.WithCancel(context.Background())
	d.stopWatch = stopWatch
	w := newWatcher(d.outputDir())
	d.watch = w
	bug.Go(func() { w.run(watching) })
}

// withoutTLS are variables for processes that talk to the nodes of the demo, which
// have no TLS, whatever the person's other clusters have.
func withoutTLS() []string { return grpctls.Settings{}.Override() }

func (d *demo) processList() string {
	var pids []string
	for _, p := range d.super.Processes() {
		pids = append(pids, fmt.Sprintf("pid %d", p.Pid))
	}
	return strings.Join(pids, " and ")
}

// describe asks for the job without the patience of a command: the caller asks
// again.
func (d *demo) describe(ctx context.Context) (*holdfastv1.JobDescription, error) {
	return jobs.Describe(ctx, d.api, jobName)
}

// running is the job's one subtask if it runs.
func running(job *holdfastv1.JobDescription) *holdfastv1.SubtaskDescription {
	for _, s := range job.GetSubtasks() {
		if s.GetStatus() == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING && s.GetInstanceId() != "" {
			return s
		}
	}
	return nil
}

// worker is the process that counts: the one whose id the subtask's instance
// carries, else the one that printed last.
func (d *demo) worker(s *holdfastv1.SubtaskDescription) (supervise.Process, error) {
	all := d.super.Processes()
	var files []string
	for _, p := range all {
		if strings.Contains(s.GetInstanceId(), p.ProcessID) {
			return p, nil
		}
		files = append(files, p.Out)
	}
	newest := d.watch.newest(files)
	for _, p := range all {
		if p.Out == newest {
			return p, nil
		}
	}
	return supervise.Process{}, errors.New("no operator process has printed anything")
}

// until looks again and again until ready says so, the step's limit is over,
// or the operators have failed.
func (d *demo) until(ctx context.Context, what string, ready func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return d.slowly(what, func() error {
		for {
			ok, err := ready(ctx)
			if ok || err != nil {
				return err
			}
			select {
			case err := <-d.superDone:
				d.superDone <- err // for those who ask later
				return fmt.Errorf("the operators: %w", err)
			case <-ctx.Done():
				return fmt.Errorf("waited %s in vain for %s", stepLimit, what)
			case <-time.After(poll):
			}
		}
	})
}

// slowly runs wait and tells what for if it takes more than two seconds.
func (d *demo) slowly(what string, wait func() error) error {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	done, began := make(chan error, 1), time.Now()
	bug.Go(func() { done <- wait() })
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			d.then("still waiting for %s (%d s)", what, int(time.Since(began).Seconds()))
		}
	}
}
