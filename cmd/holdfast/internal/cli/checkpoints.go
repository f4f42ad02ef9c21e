package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type checkpointView struct {
	ID          uint64     `json:"id"`
	Status      string     `json:"status"`
	Trigger     string     `json:"trigger"`
	TriggeredMs int64      `json:"triggered_ms"`
	EndedMs     int64      `json:"ended_ms,omitempty"`
	DurationMs  int64      `json:"duration_ms,omitempty"`
	Subtasks    int        `json:"subtasks"`
	StateBytes  uint64     `json:"state_bytes"`
	Retained    bool       `json:"retained"`
	Reason      *errorView `json:"reason,omitempty"`
}

func viewCheckpoint(c *holdfastv1.Checkpoint) checkpointView {
	v := checkpointView{
		ID:          c.GetId(),
		Status:      strings.TrimPrefix(c.GetStatus().String(), "CHECKPOINT_STATUS_"),
		Trigger:     strings.TrimPrefix(c.GetTrigger().String(), "CHECKPOINT_TRIGGER_"),
		TriggeredMs: c.GetTriggeredMs(), EndedMs: c.GetEndedMs(),
		Subtasks: len(c.GetAcks()), Retained: c.GetRetained(), Reason: viewError(c.GetReason()),
	}
	if v.EndedMs > 0 {
		v.DurationMs = v.EndedMs - v.TriggeredMs
	}
	for _, ack := range c.GetAcks() {
		v.StateBytes += ack.GetStateBytes()
	}
	return v
}

func (a *app) checkpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "checkpoints JOB", GroupID: groupJobs, Short: "List a job's checkpoints, newest first", Args: exactly("JOB"),
		Example: "  holdfast checkpoints CheckpointExample",
		RunE: a.do(func(ctx context.Context, args []string) error {
			var answer *holdfastv1.ListCheckpointsResponse
			err := a.withCluster("listing the checkpoints", func(c *connect.Cluster) (err error) {
				answer, err = jobs.Call(ctx, c, func(ctx context.Context, s holdfastv1.JobServiceClient) (*holdfastv1.ListCheckpointsResponse, error) {
					return s.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: args[0]})
				})
				return err
			})
			if err != nil {
				return err
			}
			return a.printCheckpoints(answer)
		}),
	}
}

func (a *app) printCheckpoints(answer *holdfastv1.ListCheckpointsResponse) error {
	views := []checkpointView{}
	t := render.Table{Header: []string{"ID", "STATUS", "TRIGGER", "TRIGGERED", "DURATION", "STATE", "RETAINED", "REASON"}}
	for _, c := range answer.GetCheckpoints() {
		v := viewCheckpoint(c)
		views = append(views, v)
		duration, retained, reason := "-", "", ""
		if v.EndedMs > 0 {
			duration = fmt.Sprintf("%d ms", v.DurationMs)
		}
		if v.Retained {
			retained = "yes"
		}
		if v.Reason != nil {
			reason = v.Reason.String()
		}
		t.Add(v.ID, v.Status, v.Trigger, render.Time(v.TriggeredMs), duration, render.Bytes(v.StateBytes), retained, reason)
	}
	v := map[string]any{"checkpoints": views, "counts": viewCounts(answer.GetCounts())}
	return a.print(v, t.Write)
}

func (a *app) checkpointCommand() *cobra.Command {
	return &cobra.Command{
		Use: "checkpoint JOB", GroupID: groupJobs, Short: "Take a checkpoint now and wait for its outcome", Args: exactly("JOB"),
		Example: "  holdfast checkpoint CheckpointExample",
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
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
