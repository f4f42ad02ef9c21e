package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) savepointCommand() *cobra.Command {
	var dispose string
	cmd := &cobra.Command{
		Use: "savepoint JOB [DIR]", GroupID: groupState, Short: "Write a savepoint of a job, or delete one",
		Long: `Takes a checkpoint and writes its state into a directory of its own below DIR, or
below the job's savepoint directory (execution.checkpointing.savepoint-dir), and
waits for it. DIR is file://, s3:// or hdfs:// with a path, which every node reaches
and allows; /path is file:///path. The directory is yours: the system never deletes
it, it may be moved, and it does not depend on the state backend.

With --dispose PATH: deletes the files of a savepoint.`,
		Example: "  holdfast savepoint CheckpointExample s3://bucket/savepoints\n  holdfast savepoint --dispose s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case dispose == "" && cmd.Flags().Changed("dispose"):
				return exit.Errorf(exit.Usage, "--dispose needs the directory of a savepoint; see `%s --help`", cmd.CommandPath())
			case dispose != "" && len(args) > 0:
				return exit.Errorf(exit.Usage, "--dispose PATH takes no JOB; see `%s --help`", cmd.CommandPath())
			case dispose != "":
				return nil
			}
			return between(1, "JOB", "DIR")(cmd, args)
		},
		ValidArgsFunction: a.completeJobs(goingOn, nil),
	}
	cmd.Flags().StringVar(&dispose, "dispose", "", "directory of a savepoint to delete")
	completeFlag(cmd, "dispose", fixedWords())
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		if dispose != "" {
			return a.disposeSavepoint(ctx, dispose)
		}
		return a.takeSavepoint(ctx, args[0], second(args))
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}

// second is the second argument, or "".
func second(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

// savepointView is a savepoint that was written.
type savepointView struct {
	Job          string `json:"job"`
	CheckpointID uint64 `json:"checkpoint_id"`
	Path         string `json:"path"`
	DurationMs   int64  `json:"duration_ms"`
	// Status is the job's, of stop and cancel.
	Status string `json:"status,omitempty"`
}

func (a *app) takeSavepoint(ctx context.Context, job, dir string) error {
	done, err := a.operate(ctx, job, "savepoint", func(ctx context.Context, s holdfastv1.JobServiceClient, id string) (jobs.Begun, error) {
		return s.TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: job, RequestId: id, Directory: snapshots.URL(dir)})
	})
	if err != nil {
		return err
	}
	v := viewSavepoint(job, done)
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "savepoint of checkpoint %d written in %d ms: %s\n", v.CheckpointID, v.DurationMs, v.Path)
		return err
	})
}

func viewSavepoint(job string, c *holdfastv1.Checkpoint) savepointView {
	return savepointView{Job: job, CheckpointID: c.GetId(), Path: c.GetSavepointPath(), DurationMs: max(c.GetEndedMs()-c.GetTriggeredMs(), 0)}
}

// operate waits for an operation and tells how far it is.
func (a *app) operate(ctx context.Context, job, what string, begin jobs.Begin) (done *holdfastv1.Checkpoint, err error) {
	err = a.tellingProgress("waiting for the "+what, func(c *connect.Cluster, p *render.Progress) error {
		done, err = jobs.Operate(ctx, c, begin, func(chk *holdfastv1.Checkpoint) { p.Set(operationText(what, chk)) })
		return err
	})
	if errors.Is(err, context.Canceled) {
		a.note("what was begun goes on; `holdfast checkpoints %s` shows it", job)
	}
	return done, err
}

func operationText(what string, c *holdfastv1.Checkpoint) string {
	if c.GetStatus() == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING {
		return fmt.Sprintf("the %s: %d of %d subtasks are in checkpoint %d", what, len(c.GetAcks()), max(int(c.GetSubtasks()), len(c.GetAcks())), c.GetId())
	}
	return fmt.Sprintf("the %s: checkpoint %d is complete, its savepoint is being written", what, c.GetId())
}

func (a *app) disposeSavepoint(ctx context.Context, path string) error {
	var files uint32
	err := a.withCluster("deleting the savepoint", func(c *connect.Cluster) error {
		answer, err := jobs.Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.DisposeSavepointResponse, error) {
			return s.DisposeSavepoint(ctx, &holdfastv1.DisposeSavepointRequest{Path: snapshots.URL(path)})
		})
		files = answer.GetFiles()
		return err
	})
	if err != nil {
		return err
	}
	return a.print(map[string]any{"path": path, "files": files}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s: %d files\n", path, files)
		return err
	})
}

func (a *app) stopCommand() *cobra.Command {
	var dir string
	var drain bool
	cmd := &cobra.Command{
		Use: "stop JOB", GroupID: groupJobs, Short: "End a job with a savepoint: nothing is processed behind its cut", Args: exactly("JOB"),
		Long: `Takes a savepoint, lets nothing be processed behind its cut, and ends the job as
FINISHED once the savepoint is written. If it cannot be written the job goes on.

With --drain everything that waits for time to pass is fired before the cut; such
a savepoint is not for going on.`,
		Example:           "  holdfast stop CheckpointExample\n  holdfast stop CheckpointExample --savepoint-path hdfs://namenode:8020/savepoints",
		ValidArgsFunction: a.completeJobs(goingOn, nil),
	}
	cmd.Flags().StringVar(&dir, "savepoint-path", "", "directory below which the savepoint gets its own (default: the job's savepoint directory)")
	cmd.Flags().BoolVar(&drain, "drain", false, "fire what waits for time to pass first (no client of this version has timers)")
	completeFlag(cmd, "savepoint-path", fixedWords())
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		return a.stopJob(ctx, &holdfastv1.StopRequest{Job: args[0], Directory: snapshots.URL(dir), Drain: drain})
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}

// stopJob ends a job with a savepoint, as FINISHED or CANCELED.
func (a *app) stopJob(ctx context.Context, r *holdfastv1.StopRequest) error {
	done, err := a.operate(ctx, r.GetJob(), "savepoint with which the job ends", func(ctx context.Context, s holdfastv1.JobServiceClient, id string) (jobs.Begun, error) {
		r.RequestId = id
		return s.Stop(ctx, r)
	})
	if err != nil {
		return err
	}
	v := viewSavepoint(r.GetJob(), done)
	v.Status = "FINISHED"
	if r.GetCancel() {
		v.Status = "CANCELED"
	}
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is %s; savepoint of checkpoint %d: %s\n", v.Job, a.style.Word(v.Status), v.CheckpointID, v.Path)
		return err
	})
}

func (a *app) cancelCommand() *cobra.Command {
	var withSavepoint bool
	cmd := &cobra.Command{
		Use: "cancel JOB [DIR]", GroupID: groupJobs, Short: "End a job for good; its checkpoints are deleted unless they are retained",
		Long: `Its checkpoints are deleted, unless the job has the retention
RETAIN_ON_CANCELLATION. With --with-savepoint a savepoint is written first, below DIR
or the job's savepoint directory; if that fails the job goes on.`,
		Example: "  holdfast cancel CheckpointExample\n  holdfast cancel CheckpointExample --with-savepoint s3://bucket/savepoints",
		Args: func(cmd *cobra.Command, args []string) error {
			if withSavepoint {
				return between(1, "JOB", "DIR")(cmd, args)
			}
			return exactly("JOB")(cmd, args)
		},
		ValidArgsFunction: a.completeJobs(goingOn, nil),
	}
	cmd.Flags().BoolVar(&withSavepoint, "with-savepoint", false, "write a savepoint first, below DIR if it is given")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		if withSavepoint {
			return a.stopJob(ctx, &holdfastv1.StopRequest{Job: args[0], Directory: snapshots.URL(second(args)), Cancel: true})
		}
		id := jobs.RequestID()
		return a.change(ctx, "cancelling", args[0], func(ctx context.Context, s holdfastv1.JobServiceClient) (holdfastv1.JobStatus, error) {
			answer, err := s.Cancel(ctx, &holdfastv1.CancelRequest{Job: args[0], RequestId: id})
			return answer.GetStatus(), err
		})
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}
