// Package demo shows Holdfast at work: a cluster, a Kafka broker, a job that
// counts, SIGKILL for everything in turn, and a check that every record was
// counted exactly once.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/supervise"
)

const (
	nodeCount = 3
	jobName   = "CheckpointExample"
	// These two are the example program's.
	stateUID  = "stateful-mapper"
	stateName = "CheckpointExample"

	// stepLimit bounds each thing that is waited for.
	stepLimit = 30 * time.Second
	// runLimit bounds the demo up to the verdict.
	runLimit = 90 * time.Second
	// poll is the pause between two looks at the cluster.
	poll = 25 * time.Millisecond
	// callPatience lets a call outlive an election.
	callPatience = 10 * time.Second
	// operatorGrace is the time between SIGTERM and SIGKILL of an operator.
	operatorGrace = 5 * time.Second
)

// Config is what the command line says.
type Config struct {
	// RecordsPerSecond is the rate of the traffic, above 0.
	RecordsPerSecond float64
	// Dir keeps everything; empty: a temporary directory.
	Dir string
	// Keep leaves all running after the verdict until the context ends.
	Keep     bool
	Timeline *Timeline
	// Verdict is told the result as soon as it is known, once.
	Verdict func(Result)
	// User and Host are parts of the output files' names.
	User, Host string
}

// demo is one run.
type demo struct {
	cfg Config
	*Timeline
	dir      string
	ownDir   bool
	broker   *kfake.Cluster
	cluster  *nodes.Cluster
	holdfast string
	server   string
	example  string
	api      *connect.Cluster
	traffic  *traffic
	watch    *watcher
	super    *supervise.Supervisor
	// superDone has Run's result.
	superDone chan error
	stopSuper context.CancelFunc
	stopWatch context.CancelFunc
	result    Result
}

// Run runs the demo and tells the verdict. Everything that was started has
// ended when Run returns.
func Run(ctx context.Context, cfg Config) error {
	d := &demo{cfg: cfg, Timeline: cfg.Timeline, result: Result{Demo: "failed", Kills: []Kill{}}}
	began := time.Now()
	err := d.untilVerdict(ctx)
	if err == nil {
		d.result.Demo = "ok"
	}
	d.result.DurationMs = time.Since(began).Milliseconds()
	if err != nil {
		d.result.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	playing := cfg.Keep && err == nil
	if playing {
		d.play(ctx)
	}
	keepFiles := playing || err != nil && !errors.Is(err, context.Canceled)
	err = errors.Join(err, d.cleanUp(keepFiles))
	if !playing {
		cfg.Verdict(d.result)
	}
	return err
}

func (d *demo) untilVerdict(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("the demo was not done within %s", runLimit))
	defer cancel()
	for _, step := range []func(context.Context) error{
		d.prepare, d.startCluster, d.startOperators, d.startTraffic,
		d.killLeader, d.killLeader, d.killOperator, d.killHost,
		d.drain, d.check,
	} {
		if err := step(limited); err != nil {
			if ctx.Err() != nil {
				return context.Canceled
			}
			if cause := context.Cause(limited); cause != nil {
				return errors.Join(cause, err)
			}
			return err
		}
	}
	return nil
}

// prepare finds the programs and the directory and starts the broker.
func (d *demo) prepare(context.Context) (err error) {
	if d.holdfast, err = os.Executable(); err != nil {
		return err
	}
	if d.server, err = procs.Find("holdfastd", "HOLDFASTD"); err != nil {
		return err
	}
	if d.example, err = procs.Find(example, "HOLDFAST_EXAMPLE_CHECKPOINT"); err != nil {
		return err
	}
	if d.dir, err = d.makeDir(); err != nil {
		return err
	}
	if d.broker, err = startBroker(); err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	d.text("\nThree nodes, one Kafka topic, one job that counts words, and SIGKILL for everything in turn.\nFiles: %s\n\n", d.dir)
	d.say("a Kafka broker listens on %s (embedded); topic %s has %d partitions", d.brokers(), topic, partitions)
	return nil
}

func (d *demo) makeDir() (string, error) {
	if d.cfg.Dir == "" {
		d.ownDir = true
		return os.MkdirTemp("", "holdfast-demo-")
	}
	dir, err := filepath.Abs(d.cfg.Dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		// Counts of an earlier run would be judged with this one's.
		return "", fmt.Errorf("%s is not empty; the demo needs a directory of its own", dir)
	}
	return dir, err
}

func (d *demo) brokers() string { return strings.Join(d.broker.ListenAddrs(), ",") }

func (d *demo) outputDir() string { return filepath.Join(d.dir, "output") }

func (d *demo) startCluster(ctx context.Context) (err error) {
	if d.cluster, err = nodes.Create(filepath.Join(d.dir, "cluster"), nodeCount, 0, ""); err != nil {
		return err
	}
	d.cluster.Bound = true
	if _, err = d.cluster.Start(d.server); err != nil {
		return err
	}
	if err = d.slowly("the nodes to serve", func() error { return d.cluster.WaitServing(ctx, stepLimit) }); err != nil {
		return err
	}
	if d.api, err = connect.Open(d.cluster.Addresses(), callPatience, nil); err != nil {
		return err
	}
	leader, err := d.leader(ctx, "")
	if err != nil {
		return err
	}
	d.say("three nodes serve: %s; %s leads", d.nodeList(), leader.Name)
	return nil
}

func (d *demo) nodeList() string {
	var parts []string
	for _, n := range d.cluster.Nodes() {
		parts = append(parts, fmt.Sprintf("%s (pid %d)", n.Name, n.Pid))
	}
	return strings.Join(parts, ", ")
}

func (d *demo) startTraffic(ctx context.Context) (err error) {
	if d.traffic, err = newTraffic(d.broker.ListenAddrs(), d.cfg.RecordsPerSecond); err != nil {
		return err
	}
	// It goes on past this step, until the drain.
	d.traffic.start(context.WithoutCancel(ctx))
	d.say("%g records a second flow from here on, whatever dies", d.cfg.RecordsPerSecond)
	if err := d.settle(ctx); err != nil {
		return err
	}
	_, worker, err := d.working(ctx)
	if err != nil {
		return err
	}
	d.say("pid %d counts, and checkpoints complete", worker.Pid)
	return nil
}

// cleanUp ends what was started, last first.
func (d *demo) cleanUp(keepFiles bool) error {
	var errs []error
	if d.traffic != nil {
		d.traffic.close()
	}
	if d.super != nil {
		d.stopSuper()
		<-d.superDone //nolint:errcheck // how it ended is known already
		d.stopWatch()
	}
	if d.api != nil {
		d.api.Close()
	}
	if d.cluster != nil {
		// Where the directory stays, the nodes end as they would in service.
		_, err := d.cluster.Stop(d.ownDir)
		errs = append(errs, err)
	}
	if d.broker != nil {
		d.broker.Close()
	}
	if d.ownDir && !keepFiles {
		errs = append(errs, os.RemoveAll(d.dir))
	} else if d.dir != "" {
		d.text("\nData, output and logs are kept in %s\n\n", d.dir)
	}
	return errors.Join(errs...)
}
