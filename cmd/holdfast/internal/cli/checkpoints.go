package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func listCheckpoints(ctx context.Context, c *connect.Cluster, job string) (*holdfastv1.ListCheckpointsResponse, error) {
	return jobs.Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.ListCheckpointsResponse, error) {
		return s.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: job})
	})
}

func (a *app) checkpointsCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "checkpoints JOB [ID]", GroupID: groupJobs, Short: "Show a job's checkpoints and their statistics", Args: between(1, "JOB", "ID"),
		Long: `Without ID: the newest checkpoints, newest first, and a summary over all that
completed. With ID: what each subtask did for it.

  END TO END   from the trigger to the last subtask's ack
  STATE        keys and values of the state that the checkpoint keeps
  FLUSHED      keys and values that changed since the checkpoint before
  UPLOADED     bytes of files that were written for it alone
  DIRECTORY    its files or savepoint, for run --from-savepoint, verify and diff
  START DELAY  from the trigger to the barrier's way to the subtask
  SYNC         the record in hand and the seal; meanwhile no record is processed
  ASYNC        flushing what was sealed, beside the next records

START DELAY and END TO END are by the clocks of two nodes.`,
		Example:           "  holdfast checkpoints CheckpointExample\n  holdfast checkpoints CheckpointExample 7\n  holdfast checkpoints CheckpointExample --watch",
		ValidArgsFunction: a.completeJobs(anyJob, a.completeCheckpoints(false)),
	}
	watchFlag(cmd, &watch)
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		look := a.lookAtCheckpoints(args[0])
		if len(args) == 2 {
			id, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil || id == 0 {
				return exit.Errorf(exit.Usage, "the checkpoint id %q is no number from 1; `holdfast checkpoints %s` lists them", args[1], args[0])
			}
			look = a.lookAtCheckpoint(args[0], id)
		}
		return a.watchJob(ctx, watch, "asking for the checkpoints", args[0], look)
	})
	return exits(cmd, exit.NotFound, exit.Unavailable)
}

func (a *app) lookAtCheckpoints(job string) func(context.Context, *connect.Cluster) (seen, error) {
	return func(ctx context.Context, c *connect.Cluster) (seen, error) {
		answer, err := listCheckpoints(ctx, c, job)
		v := viewCheckpoints(answer)
		return seen{view: v, table: func(w io.Writer) error { return a.writeCheckpoints(w, v) }}, err
	}
}

func (a *app) lookAtCheckpoint(job string, id uint64) func(context.Context, *connect.Cluster) (seen, error) {
	return func(ctx context.Context, c *connect.Cluster) (seen, error) {
		answer, err := jobs.Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.DescribeCheckpointResponse, error) {
			return s.DescribeCheckpoint(ctx, &holdfastv1.DescribeCheckpointRequest{Job: job, CheckpointId: id})
		})
		v := viewCheckpointDetail(answer)
		pending := answer.GetCheckpoint().GetStatus() == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING
		return seen{view: v, table: func(w io.Writer) error { return a.writeCheckpointDetail(w, v) }, last: !pending}, err
	}
}

func (a *app) writeCheckpoints(w io.Writer, v checkpointsView) error {
	t := render.Table{Header: []string{"ID", "STATUS", "TRIGGER", "TRIGGERED", "ACKS", "END TO END", "STATE", "FLUSHED", "UPLOADED", "RETAINED", "DIRECTORY", "REASON"}}
	for _, c := range v.Checkpoints {
		duration, retained, reason := "-", "", ""
		if c.EndedMs > 0 {
			duration = fmt.Sprintf("%d ms", c.DurationMs)
		}
		if c.Retained {
			retained = "yes"
		}
		if c.Reason != nil {
			reason = c.Reason.line()
		}
		if c.SavepointError != nil {
			reason = "savepoint: " + c.SavepointError.line()
		}
		t.Add(c.ID, c.Status, c.triggerText(), render.Time(c.TriggeredMs), fmt.Sprintf("%d/%d", c.Acks, c.Subtasks), duration,
			render.Bytes(c.StateBytes), render.Bytes(c.FlushedBytes), render.Bytes(c.UploadedBytes), retained, orDash(c.directory()), reason)
	}
	if err := a.table(w, t); err != nil {
		return err
	}
	n := v.Counts
	fmt.Fprintf(w, "\n%d triggered, %d in progress, %d completed, %d failed, %d restored\n", n.Triggered, n.InProgress, n.Completed, n.Aborted, n.Restored)
	if v.Summary == nil {
		return nil
	}
	fmt.Fprintln(w)
	s := render.Table{Header: []string{fmt.Sprintf("OVER %d COMPLETED", v.Summary.EndToEndMs.Count), "MINIMUM", "AVERAGE", "MAXIMUM"}}
	ms := func(n uint64) string { return fmt.Sprintf("%d ms", n) }
	for _, row := range []struct {
		name  string
		stats statsView
		unit  func(uint64) string
	}{{"end to end", v.Summary.EndToEndMs, ms}, {"state", v.Summary.StateBytes, render.Bytes}, {"flushed", v.Summary.FlushedBytes, render.Bytes}} {
		s.Add(row.name, row.unit(row.stats.Min), row.unit(row.stats.Avg), row.unit(row.stats.Max))
	}
	return a.table(w, s)
}

func (a *app) writeCheckpointDetail(w io.Writer, v checkpointDetailView) error {
	fmt.Fprintf(w, "checkpoint   %d\nstatus       %s\ntrigger      %s\ntriggered    %s\nacks         %d of %d\n",
		v.ID, a.style.Word(v.Status), v.triggerText(), render.Time(v.TriggeredMs), v.Acks, v.Subtasks)
	if v.EndedMs > 0 {
		fmt.Fprintf(w, "end to end   %d ms\n", v.DurationMs)
	}
	fmt.Fprintf(w, "state        %s\nflushed      %s\nuploaded     %s\n", render.Bytes(v.StateBytes), render.Bytes(v.FlushedBytes), render.Bytes(v.UploadedBytes))
	if v.Retained {
		fmt.Fprintln(w, "retained     yes")
	}
	if v.Reason != nil {
		fmt.Fprintf(w, "reason       %s\n", v.Reason.line())
	}
	for _, line := range [][2]string{{"directory", v.Path}, {"savepoint", v.Savepoint}} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-12s %s\n", line[0], line[1])
		}
	}
	if v.SavepointError != nil {
		fmt.Fprintf(w, "savepoint    not written: %s\n", v.SavepointError.line())
	}
	fmt.Fprintln(w)
	t := render.Table{Header: []string{"SUBTASK", "ACKED", "END TO END", "START DELAY", "SYNC", "ASYNC", "STATE", "FLUSHED", "UPLOADED"}}
	for _, s := range v.SubtaskList {
		t.Add(s.name(), render.Time(s.AckedMs), fmt.Sprintf("%d ms", s.EndToEndMs), millis(s.StartDelayMs), millis(s.SyncMs), millis(s.AsyncMs),
			render.Bytes(s.StateBytes), render.Bytes(s.FlushedBytes), render.Bytes(s.Uploaded))
	}
	for _, s := range v.Missing {
		t.Add(s.name(), "not yet", "-", "-", "-", "-", "-", "-", "-")
	}
	if err := a.table(w, t); err != nil || len(v.SubtaskList) < 2 {
		return err
	}
	return a.writeSubtaskSummary(w, v.SubtaskList)
}

// writeSubtaskSummary prints what a person compares the subtasks by.
func (a *app) writeSubtaskSummary(w io.Writer, list []subtaskAckView) error {
	fmt.Fprintln(w)
	t := render.Table{Header: []string{"OVER THE SUBTASKS", "MINIMUM", "AVERAGE", "MAXIMUM"}}
	for _, row := range []struct {
		name string
		of   func(subtaskAckView) *float64
	}{
		{"end to end", func(s subtaskAckView) *float64 { f := float64(s.EndToEndMs); return &f }},
		{"start delay", func(s subtaskAckView) *float64 { return s.StartDelayMs }},
		{"sync", func(s subtaskAckView) *float64 { return s.SyncMs }},
		{"async", func(s subtaskAckView) *float64 { return s.AsyncMs }},
	} {
		var all []float64
		sum := 0.0
		for _, s := range list {
			if f := row.of(s); f != nil {
				all, sum = append(all, *f), sum+*f
			}
		}
		if len(all) == 0 {
			t.Add(row.name, "-", "-", "-")
			continue
		}
		least, most, average := slices.Min(all), slices.Max(all), sum/float64(len(all))
		t.Add(row.name, millis(&least), millis(&average), millis(&most))
	}
	return a.table(w, t)
}

// millis prints a measured time; nil was not measured.
func millis(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.2f ms", *ms)
	default:
		return fmt.Sprintf("%.0f ms", *ms)
	}
}

func (a *app) checkpointCommand() *cobra.Command {
	return exits(&cobra.Command{
		Use: "checkpoint JOB", GroupID: groupJobs, Short: "Take a checkpoint now and wait for its outcome", Args: exactly("JOB"),
		Example: "  holdfast checkpoint CheckpointExample", ValidArgsFunction: a.completeJobs(goingOn, nil),
		RunE: a.do(func(ctx context.Context, args []string) error {
			var done *holdfastv1.Checkpoint
			err := a.withCluster("waiting for the checkpoint", func(c *connect.Cluster) (err error) {
				done, err = jobs.TakeCheckpoint(ctx, c, args[0])
				return err
			})
			if err != nil {
				return err
			}
			v := viewCheckpoint(done)
			return a.print(v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "checkpoint %d completed in %d ms\n", v.ID, v.DurationMs)
				return err
			})
		}),
	}, exit.NotFound, exit.Unavailable, exit.Refused)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
