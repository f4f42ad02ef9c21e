package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) jobCommands() []*cobra.Command {
	return []*cobra.Command{
		a.listCommand(), a.describeCommand(), a.cancelCommand(), a.stopCommand(), a.resumeCommand(),
		a.checkpointCommand(), a.checkpointsCommand(),
	}
}

func (a *app) listCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "list", GroupID: groupJobs, Short: "List the jobs", Args: exactly(),
		Example: "  holdfast list\n  holdfast list --watch\n  holdfast list -o json | jq -r '.jobs[].name'",
	}
	watchFlag(cmd, &watch)
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		c, _, err := a.open()
		if err != nil {
			return err
		}
		defer c.Close()
		return a.showOrWatch(ctx, watch, nil, a.withProgress("listing the jobs", c, a.lookAtJobs))
	})
	return exits(cmd, exit.Unavailable)
}

func (a *app) lookAtJobs(ctx context.Context, c *connect.Cluster) (seen, error) {
	list, err := jobs.List(ctx, c)
	views := []jobView{}
	t := render.Table{Header: []string{"NAME", "STATUS", "SUBTASKS", "CHECKPOINT", "RESTARTS", "CREATED", "JOB ID"}}
	for _, j := range list {
		v := viewJob(j)
		views = append(views, v)
		t.Add(v.Name, v.Status, fmt.Sprintf("%d/%d", v.SubtasksRunning, v.Subtasks), v.LatestCompletedCheckpoint,
			v.Restarts, render.Time(v.CreatedMs), v.JobID)
	}
	return seen{view: map[string]any{"jobs": views}, table: func(w io.Writer) error {
		if err := a.table(w, t); err != nil || len(views) > 0 {
			return err
		}
		_, err := fmt.Fprintln(w, "\nno jobs; `holdfast run -- PROGRAM` runs one")
		return err
	}}, err
}

func (a *app) describeCommand() *cobra.Command {
	var watch, exceptions bool
	cmd := &cobra.Command{
		Use: "describe JOB", GroupID: groupJobs, Short: "Show a job: subtasks, positions, state, exceptions", Args: exactly("JOB"),
		Long: `JOB is a job's name or id, here and everywhere.

An exception is how an attempt ended: USER (the program failed), EXTERNAL (the
world outside did), INTERNAL (Holdfast or the client library did), or LOST (the
process or its node is gone, which costs no attempt of the restart strategy). The
newest 16 are kept.`,
		Example:           "  holdfast describe CheckpointExample\n  holdfast describe CheckpointExample --exceptions\n  holdfast describe CheckpointExample --watch",
		ValidArgsFunction: a.completeJobs(anyJob, nil),
	}
	watchFlag(cmd, &watch)
	cmd.Flags().BoolVar(&exceptions, "exceptions", false, "show the exceptions alone, all of them, with their stacks")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		return a.watchJob(ctx, watch, "asking for the job", args[0], a.lookAtJob(args[0], exceptions))
	})
	return exits(cmd, exit.NotFound, exit.Unavailable)
}

func (a *app) lookAtJob(job string, exceptions bool) func(context.Context, *connect.Cluster) (seen, error) {
	return func(ctx context.Context, c *connect.Cluster) (seen, error) {
		d, err := jobs.Describe(ctx, c, job)
		v := viewDescription(d)
		s := seen{view: v, last: jobs.Ended(d.GetSummary().GetStatus()), table: func(w io.Writer) error { return a.writeDescription(w, v) }}
		if exceptions {
			list := append([]exceptionView{}, v.Exceptions...)
			s.view, s.table = map[string]any{"exceptions": list}, func(w io.Writer) error { return a.writeStacks(w, list) }
		}
		return s, err
	}
}

func (a *app) resumeCommand() *cobra.Command {
	var acceptGap bool
	cmd := &cobra.Command{
		Use: "resume JOB", GroupID: groupJobs, Short: "Let a SUSPENDED job go on from its newest checkpoint", Args: exactly("JOB"),
		Long: `A job is SUSPENDED where going on would lose something and nobody has said that it
may: --accept-gap says it. Records that the source no longer has are skipped, and
subtasks without checkpoints whose host is gone begin from empty state.`,
		Example:           "  holdfast resume CheckpointExample\n  holdfast resume CheckpointExample --accept-gap",
		ValidArgsFunction: a.completeJobs(suspended, nil),
	}
	cmd.Flags().BoolVar(&acceptGap, "accept-gap", false, "go on without what is lost: records that the source no longer has, state of a host that is gone")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		id := jobs.RequestID()
		return a.change(ctx, "resuming", args[0], func(ctx context.Context, s holdfastv1.JobServiceClient) (holdfastv1.JobStatus, error) {
			answer, err := s.Resume(ctx, &holdfastv1.ResumeRequest{Job: args[0], RequestId: id, AcceptGap: acceptGap})
			return answer.GetStatus(), err
		})
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}

// change makes a call that changes a job and prints the job's new status.
func (a *app) change(ctx context.Context, doing, job string, call func(context.Context, holdfastv1.JobServiceClient) (holdfastv1.JobStatus, error)) error {
	var status holdfastv1.JobStatus
	err := a.withCluster(doing+" the job", func(c *connect.Cluster) (err error) {
		status, err = jobs.Call(ctx, c, call)
		return err
	})
	if err != nil {
		return err
	}
	return a.print(map[string]string{"job": job, "status": statusName(status)}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is %s\n", job, a.style.Word(statusName(status)))
		return err
	})
}
