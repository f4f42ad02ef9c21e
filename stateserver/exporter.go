package stateserver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// The exporter does, while this node leads, what entries have decided about files:
// it writes the manifests of checkpoints and savepoints, and deletes what nothing
// needs any more. It keeps nothing: a new leader reads the same from its state and
// does what is left. All of it may be done twice.

const (
	// exportTick is how often the exporter looks at what is due.
	exportTick = 50 * time.Millisecond
	// maxExportTasks is how much is written or deleted at a time.
	maxExportTasks = 8
	// The first and the longest pause between two tries.
	exportRetryFirst = 500 * time.Millisecond
	exportRetryMax   = time.Minute
)

// exporter runs on every node and works on the leader.
type exporter struct {
	s       *Server
	log     *slog.Logger
	metrics *exportMetrics
	// patience is how long a savepoint is tried again while the storage does not
	// answer.
	patience time.Duration

	// Of the leadership that goes on:
	tasks map[taskKey]*exportTask
	term  uint64
	// inherited are the savepoints that earlier leaders may have begun.
	inherited map[taskKey]bool

	done chan taskKey
}

// taskKey names one thing to do.
type taskKey struct {
	kind       taskKind
	job        string
	checkpoint uint64
}

func exportKey(e coordinator.Export) taskKey {
	if e.Savepoint {
		return taskKey{exportSavepoint, e.JobID, e.CheckpointID}
	}
	return taskKey{exportMetadata, e.JobID, e.CheckpointID}
}

type taskKind string

// The kinds of tasks, as the metrics name them.
const (
	exportMetadata  taskKind = "checkpoint"
	exportSavepoint taskKind = "savepoint"
	deleteFiles     taskKind = "deletion"
	collectOrphans  taskKind = "orphans"
)

// exportTask is something that is to be done until it is not listed any more.
type exportTask struct {
	cancel  context.CancelFunc // of the try that goes on; nil: none does
	listed  bool
	next    time.Time // no try before
	pauses  *backoff.ExponentialBackOff
	message string // the last failure that was told
	// of deletions: since when the directory of the job is empty, as far as seen.
	empty time.Time
	err   error // of the try that is done
	again time.Duration
}

func newPauses() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: exportRetryFirst, MaxInterval: exportRetryMax, Multiplier: 2, RandomizationFactor: 0.5}
}

func newExporter(s *Server) *exporter {
	return &exporter{s: s, log: s.log, metrics: newExportMetrics(), patience: exportPatience, done: make(chan taskKey)}
}

// run works whenever this node leads, until ctx ends.
func (x *exporter) run(ctx context.Context) {
	tick := time.NewTicker(exportTick)
	defer tick.Stop()
	for {
		if term := x.s.lead.leadsIn(); term != 0 {
			x.lead(ctx, term)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lead is one leadership. It returns when no task is under way any more.
func (x *exporter) lead(ctx context.Context, term uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.tasks, x.term, x.inherited = map[taskKey]*exportTask{}, term, map[taskKey]bool{}
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		for _, e := range m.Exports() {
			x.inherited[exportKey(e)] = true
		}
	})
	defer x.stop(cancel)
	tick := time.NewTicker(exportTick)
	defer tick.Stop()
	for x.s.lead.leadsIn() == term {
		x.step(ctx)
		select {
		case k := <-x.done:
			x.finished(k)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the tries and waits for them.
func (x *exporter) stop(cancel context.CancelFunc) {
	cancel()
	for x.running() > 0 {
		k := <-x.done
		x.tasks[k].cancel = nil
	}
}

func (x *exporter) running() (n int) {
	for _, t := range x.tasks {
		if t.cancel != nil {
			n++
		}
	}
	return n
}

// step begins what is due, and gives up what is not listed any more: a newer
// checkpoint has subsumed it, or it is done.
func (x *exporter) step(ctx context.Context) {
	var exports []coordinator.Export
	var deletions []coordinator.Deletion
	var dirs []coordinator.JobDirectory
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		exports, deletions, dirs = m.Exports(), m.Deletions(), m.JobDirectories()
	})
	for _, t := range x.tasks {
		t.listed = false
	}
	for _, e := range exports {
		x.offer(ctx, exportKey(e), func(try context.Context, t *exportTask) error { return x.export(try, ctx, t, e) })
	}
	for _, d := range deletions {
		if !x.writes(d.JobID, exports) {
			x.offer(ctx, taskKey{deleteFiles, d.JobID, 0}, func(ctx context.Context, t *exportTask) error { return x.delete(ctx, t, d) })
		}
	}
	for _, d := range dirs {
		x.offer(ctx, taskKey{collectOrphans, d.JobID, 0}, func(ctx context.Context, t *exportTask) error { return x.collect(ctx, t, d) })
	}
	for k, t := range x.tasks {
		switch {
		case t.listed:
		case t.cancel != nil:
			t.cancel()
		default:
			delete(x.tasks, k)
		}
	}
}

// writes tells whether something is still written for a job that is not listed any
// more: what it wrote is deleted only behind it.
func (x *exporter) writes(job string, exports []coordinator.Export) bool {
	for k, t := range x.tasks {
		if k.job != job || k.kind != exportMetadata || t.cancel == nil {
			continue
		}
		listed := false
		for _, e := range exports {
			listed = listed || !e.Savepoint && e.JobID == job && e.CheckpointID == k.checkpoint
		}
		if !listed {
			t.cancel()
			return true
		}
	}
	return false
}

// offer begins a try if one may begin now.
func (x *exporter) offer(ctx context.Context, k taskKey, try func(context.Context, *exportTask) error) {
	t := x.tasks[k]
	if t == nil {
		t = &exportTask{pauses: newPauses()}
		x.tasks[k] = t
	}
	t.listed = true
	if t.cancel != nil || time.Now().Before(t.next) || x.running() >= maxExportTasks {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	t.cancel, t.again = cancel, 0
	x.s.goRun(func() {
		defer cancel()
		t.err = try(ctx, t)
		if ctx.Err() != nil {
			t.err = nil // it was given up
		}
		x.done <- k
	})
}

// finished takes the end of a try. What failed is tried again after a pause, for as
// long as it is listed.
func (x *exporter) finished(k taskKey) {
	t := x.tasks[k]
	t.cancel = nil
	if t.err == nil {
		t.pauses.Reset()
		t.message = ""
		t.next = time.Now().Add(t.again)
		return
	}
	x.metrics.failures.WithLabelValues(string(k.kind)).Inc()
	pause := t.pauses.NextBackOff()
	t.next = time.Now().Add(pause)
	if m := t.err.Error(); m != t.message {
		t.message = m
		x.log.Warn("the files of a job could not be worked on; trying again", "what", k.kind, "job", k.job, "checkpoint", k.checkpoint, "in_seconds", fmt.Sprintf("%.1f", pause.Seconds()), "err", t.err)
	}
}
