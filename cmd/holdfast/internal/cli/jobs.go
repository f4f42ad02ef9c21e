package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) jobCommands() []*cobra.Command {
	return []*cobra.Command{
		a.listCommand(), a.describeCommand(), a.cancelCommand(), a.resumeCommand(),
		a.checkpointCommand(), a.checkpointsCommand(),
	}
}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", GroupID: groupJobs, Short: "List the jobs", Args: exactly(),
		Example: "  holdfast list\n  holdfast list -o json | jq -r '.jobs[].name'",
		RunE: a.do(func(ctx context.Context, _ []string) error {
			var found []*holdfastv1.JobSummary
			err := a.withCluster("listing the jobs", func(c *connect.Cluster) (err error) {
				found, err = jobs.List(ctx, c)
				return err
			})
			if err != nil {
				return err
			}
			return a.printJobs(found)
		}),
	}
}

func (a *app) printJobs(list []*holdfastv1.JobSummary) error {
	views := []jobView{}
	t := render.Table{Header: []string{"NAME", "STATUS", "SUBTASKS", "CHECKPOINT", "RESTARTS", "CREATED", "JOB ID"}}
	for _, j := range list {
		v := viewJob(j)
		views = append(views, v)
		t.Add(v.Name, v.Status, fmt.Sprintf("%d/%d", v.SubtasksRunning, v.Subtasks), v.LatestCompletedCheckpoint,
			v.Restarts, render.Time(v.CreatedMs), v.JobID)
	}
	return a.print(map[string]any{"jobs": views}, t.Write)
}

func (a *app) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe JOB", GroupID: groupJobs, Short: "Show a job: subtasks, positions, state, exceptions", Args: exactly("JOB"),
		Long:    "JOB is a job's name or id, here and everywhere.",
		Example: "  holdfast describe CheckpointExample",
		RunE: a.do(func(ctx context.Context, args []string) error {
			var job *holdfastv1.JobDescription
			err := a.withCluster("asking for the job", func(c *connect.Cluster) (err error) {
				job, err = jobs.Describe(ctx, c, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return a.printDescription(job)
		}),
	}
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB", GroupID: groupJobs, Short: "End a job for good; its checkpoints are deleted", Args: exactly("JOB"),
		Example: "  holdfast cancel CheckpointExample",
		RunE: a.do(func(ctx context.Context, args []string) error {
			id := jobs.RequestID()
			return a.change(ctx, "cancelling", args[0], func(ctx context.Context, s holdfastv1.JobServiceClient) (holdfastv1.JobStatus, error) {
				answer, err := s.Cancel(ctx, &holdfastv1.CancelRequest{Job: args[0], RequestId: id})
				return answer.GetStatus(), err
			})
		}),
	}
}

func (a *app) resumeCommand() *cobra.Command {
	var acceptGap bool
	cmd := &cobra.Command{
		Use: "resume JOB", GroupID: groupJobs, Short: "Let a SUSPENDED job go on from its newest checkpoint", Args: exactly("JOB"),
		Example: "  holdfast resume CheckpointExample\n  holdfast resume CheckpointExample --accept-gap",
	}
	cmd.Flags().BoolVar(&acceptGap, "accept-gap", false, "go on although the source no longer has the next records; they are lost")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		id := jobs.RequestID()
		return a.change(ctx, "resuming", args[0], func(ctx context.Context, s holdfastv1.JobServiceClient) (holdfastv1.JobStatus, error) {
			answer, err := s.Resume(ctx, &holdfastv1.ResumeRequest{Job: args[0], RequestId: id, AcceptGap: acceptGap})
			return answer.GetStatus(), err
		})
	})
	return cmd
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
		_, err := fmt.Fprintf(w, "%s is %s\n", job, statusName(status))
		return err
	})
}
