package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The views are the JSON of the command line: enum names without prefix,
// numbers as numbers, and stable when the protos gain fields.

type jobView struct {
	JobID                     string `json:"job_id"`
	Name                      string `json:"name"`
	Status                    string `json:"status"`
	CreatedMs                 int64  `json:"created_ms"`
	EndedMs                   int64  `json:"ended_ms,omitempty"`
	Subtasks                  uint32 `json:"subtasks"`
	SubtasksRunning           uint32 `json:"subtasks_running"`
	LatestCompletedCheckpoint uint64 `json:"latest_completed_checkpoint"`
	Restarts                  uint64 `json:"restarts"`
}

func viewJob(j *holdfastv1.JobSummary) jobView {
	return jobView{
		JobID: j.GetJobId(), Name: j.GetName(), Status: statusName(j.GetStatus()),
		CreatedMs: j.GetCreatedMs(), EndedMs: j.GetEndedMs(),
		Subtasks: j.GetSubtasks(), SubtasksRunning: j.GetSubtasksRunning(),
		LatestCompletedCheckpoint: j.GetLatestCompletedCheckpoint(), Restarts: j.GetRestarts(),
	}
}

func statusName(s holdfastv1.JobStatus) string {
	return strings.TrimPrefix(s.String(), "JOB_STATUS_")
}

type errorView struct {
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func viewError(e *holdfastv1.Error) *errorView {
	if e == nil {
		return nil
	}
	return &errorView{
		Reason:  jobs.ReasonName(e.GetReason()),
		Message: e.GetMessage(), Metadata: e.GetMetadata(),
	}
}

func (e *errorView) String() string {
	if e == nil {
		return "-"
	}
	return e.Reason + ": " + e.Message
}

// line is String without what would break a table: a message may have several lines.
func (e *errorView) line() string {
	first, rest, more := strings.Cut(strings.TrimSpace(e.String()), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " ..."
	}
	return first
}

type positionView struct {
	Topic      string `json:"topic"`
	Partition  uint32 `json:"partition"`
	NextOffset int64  `json:"next_offset"`
}

func viewPositions(ps []*holdfastv1.Position) []positionView {
	var out []positionView
	for _, p := range ps {
		out = append(out, positionView{p.GetTopic(), p.GetPartition(), p.GetNextOffset()})
	}
	return out
}

type stateSizeView struct {
	Name       string `json:"name"`
	Bytes      uint64 `json:"bytes"`
	Entries    uint64 `json:"entries"`
	LimitBytes uint64 `json:"limit_bytes"`
}

type subtaskView struct {
	OperatorUID        string          `json:"operator_uid"`
	Index              uint32          `json:"index"`
	Status             string          `json:"status"`
	Attempt            uint64          `json:"attempt"`
	FencingToken       uint64          `json:"fencing_token"`
	LastSeq            uint64          `json:"last_seq"`
	NodeID             string          `json:"node_id"`
	NodeName           string          `json:"node_name,omitempty"`
	ProcessID          string          `json:"process_id,omitempty"`
	InstanceID         string          `json:"instance_id"`
	RestoredCheckpoint uint64          `json:"restored_checkpoint"`
	Positions          []positionView  `json:"positions,omitempty"`
	States             []stateSizeView `json:"states,omitempty"`
	KeyGroupStart      uint32          `json:"key_group_start"`
	KeyGroupEnd        uint32          `json:"key_group_end"`
}

func viewSubtask(s *holdfastv1.SubtaskDescription) subtaskView {
	v := subtaskView{
		OperatorUID: s.GetOperatorUid(), Index: s.GetIndex(),
		Status:  strings.TrimPrefix(s.GetStatus().String(), "SUBTASK_STATUS_"),
		Attempt: s.GetAttempt(), FencingToken: s.GetFencingToken(), LastSeq: s.GetLastSeq(),
		NodeID: s.GetNodeId(), NodeName: s.GetNodeName(), ProcessID: s.GetProcessId(), InstanceID: s.GetInstanceId(), RestoredCheckpoint: s.GetRestoredCheckpoint(),
		Positions:     viewPositions(s.GetPositions()),
		KeyGroupStart: s.GetKeyGroupStart(), KeyGroupEnd: s.GetKeyGroupEnd(),
	}
	for _, size := range s.GetStates() {
		v.States = append(v.States, stateSizeView{size.GetName(), size.GetBytes(), size.GetEntries(), size.GetLimitBytes()})
	}
	return v
}

type operatorView struct {
	UID         string            `json:"uid"`
	Name        string            `json:"name"`
	Parallelism uint32            `json:"parallelism"`
	Connector   string            `json:"connector,omitempty"`
	Topics      []string          `json:"topics,omitempty"`
	States      map[string]string `json:"states,omitempty"`
	// OperatorStates are those without a key.
	OperatorStates map[string]string `json:"operator_states,omitempty"`
}

type countsView struct {
	Triggered  uint64 `json:"triggered"`
	InProgress uint64 `json:"in_progress"`
	Completed  uint64 `json:"completed"`
	Aborted    uint64 `json:"aborted"`
	Restored   uint64 `json:"restored"`
}

func viewCounts(c *holdfastv1.CheckpointCounts) countsView {
	return countsView{c.GetTriggered(), c.GetInProgress(), c.GetCompleted(), c.GetAborted(), c.GetRestored()}
}

type descriptionView struct {
	jobView
	CheckpointIntervalMs uint64          `json:"checkpoint_interval_ms"`
	CheckpointMode       string          `json:"checkpoint_mode,omitempty"`
	Reason               *errorView      `json:"reason,omitempty"`
	Operators            []operatorView  `json:"operators"`
	SubtaskList          []subtaskView   `json:"subtask_list"`
	RestartStrategy      string          `json:"restart_strategy,omitempty"`
	Exceptions           []exceptionView `json:"exceptions,omitempty"`
	CheckpointCounts     countsView      `json:"checkpoint_counts"`
	StandbySlots         uint32          `json:"standby_slots"`
}

func viewDescription(d *holdfastv1.JobDescription) descriptionView {
	v := descriptionView{
		jobView: viewJob(d.GetSummary()), Reason: viewError(d.GetReason()),
		CheckpointIntervalMs: d.GetSpec().GetCheckpoint().GetIntervalMs(),
		CheckpointCounts:     viewCounts(d.GetCheckpointCounts()), StandbySlots: d.GetStandbySlots(),
	}
	if v.CheckpointIntervalMs > 0 {
		v.CheckpointMode = strings.TrimPrefix(d.GetSpec().GetCheckpoint().GetMode().String(), "CHECKPOINT_MODE_")
	}
	for _, o := range d.GetSpec().GetOperators() {
		ov := operatorView{
			UID: o.GetUid(), Name: o.GetName(), Parallelism: o.GetParallelism(),
			Connector: o.GetSource().GetConnector(), Topics: o.GetSource().GetTopics(),
		}
		for _, s := range o.GetStates() {
			if ov.States == nil {
				ov.States = map[string]string{}
			}
			ov.States[s.GetName()] = s.GetType()
		}
		for _, s := range o.GetOperatorStates() {
			if ov.OperatorStates == nil {
				ov.OperatorStates = map[string]string{}
			}
			ov.OperatorStates[s.GetName()] = s.GetType()
		}
		v.Operators = append(v.Operators, ov)
	}
	for _, s := range d.GetSubtasks() {
		v.SubtaskList = append(v.SubtaskList, viewSubtask(s))
	}
	v.Exceptions = viewExceptions(d.GetExceptions())
	v.RestartStrategy = strategyText(d.GetSpec().GetRestartStrategy())
	return v
}

func (a *app) writeDescription(w io.Writer, v descriptionView) error {
	fmt.Fprintf(w, "job          %s\nid           %s\nstatus       %s\ncreated      %s\n", v.Name, v.JobID, a.style.Word(v.Status), render.Time(v.CreatedMs))
	if v.EndedMs != 0 {
		fmt.Fprintf(w, "ended        %s\n", render.Time(v.EndedMs))
	}
	if v.Reason != nil {
		fmt.Fprintf(w, "reason       %s\n", v.Reason.line())
	}
	if v.CheckpointIntervalMs == 0 {
		fmt.Fprintln(w, "checkpoints  disabled")
	} else {
		fmt.Fprintf(w, "checkpoints  every %s, %s: newest %d; %d triggered, %d completed, %d failed\n", durationText(v.CheckpointIntervalMs),
			v.CheckpointMode, v.LatestCompletedCheckpoint, v.CheckpointCounts.Triggered, v.CheckpointCounts.Completed, v.CheckpointCounts.Aborted)
	}
	fmt.Fprintf(w, "subtasks     %d of %d running, %d slots stand by, %d restarts\n", v.SubtasksRunning, v.Subtasks, v.StandbySlots, v.Restarts)
	if v.RestartStrategy != "" {
		fmt.Fprintf(w, "restart      %s\n", v.RestartStrategy)
	}
	for _, t := range descriptionTables(v) {
		if len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintln(w)
		if err := a.table(w, t); err != nil {
			return err
		}
	}
	if len(v.Exceptions) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return a.writeExceptions(w, v.Exceptions)
}

func descriptionTables(v descriptionView) []render.Table {
	operators := render.Table{Header: []string{"OPERATOR", "NAME", "PARALLELISM", "SOURCE", "STATES"}}
	for _, o := range v.Operators {
		source := "-"
		if o.Connector != "" {
			source = o.Connector + " " + strings.Join(o.Topics, ",")
		}
		operators.Add(o.UID, o.Name, o.Parallelism, source, stateList(o.States))
	}
	subtasks := render.Table{Header: []string{"SUBTASK", "STATUS", "ATTEMPT", "TOKEN", "FROM CHECKPOINT", "NODE", "PROCESS"}}
	sizes := render.Table{Header: []string{"SUBTASK", "STATE", "ENTRIES", "SIZE", "LIMIT"}}
	positions := render.Table{Header: []string{"SUBTASK", "SPLIT", "NEXT OFFSET"}}
	for _, s := range v.SubtaskList {
		name := fmt.Sprintf("%s/%d", s.OperatorUID, s.Index)
		subtasks.Add(name, s.Status, s.Attempt, s.FencingToken, dashZero(s.RestoredCheckpoint), nodeText(s.NodeName, s.NodeID), orDash(s.ProcessID))
		for _, z := range s.States {
			sizes.Add(name, z.Name, z.Entries, render.Bytes(z.Bytes), render.Bytes(z.LimitBytes))
		}
		for _, p := range s.Positions {
			positions.Add(name, fmt.Sprintf("%s/%d", p.Topic, p.Partition), p.NextOffset)
		}
	}
	return []render.Table{operators, subtasks, sizes, positions}
}

func stateList(states map[string]string) string {
	if len(states) == 0 {
		return "-"
	}
	var parts []string
	for _, name := range sortedKeys(states) {
		parts = append(parts, name+" ("+states[name]+")")
	}
	return strings.Join(parts, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// durationText is a duration without the parts that are zero: 1h, not 1h0m0s.
func durationText(ms uint64) string {
	s := (time.Duration(ms) * time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// strategyText is a restart strategy in the words of the configuration.
func strategyText(r *holdfastv1.RestartStrategy) string {
	ms := durationText
	switch s := r.GetStrategy().(type) {
	case *holdfastv1.RestartStrategy_None:
		return "none"
	case *holdfastv1.RestartStrategy_FixedDelay:
		if s.FixedDelay.GetAttempts() == math.MaxUint32 {
			return "fixed-delay: without bound, each after " + ms(s.FixedDelay.GetDelayMs())
		}
		return fmt.Sprintf("fixed-delay: %d attempts, each after %s", s.FixedDelay.GetAttempts(), ms(s.FixedDelay.GetDelayMs()))
	case *holdfastv1.RestartStrategy_FailureRate:
		f := s.FailureRate
		return fmt.Sprintf("failure-rate: %d failures in %s, each after %s", f.GetMaxFailuresPerInterval(), ms(f.GetFailureRateIntervalMs()), ms(f.GetDelayMs()))
	case *holdfastv1.RestartStrategy_ExponentialDelay:
		e := s.ExponentialDelay
		text := fmt.Sprintf("exponential-delay: from %s to %s, times %g, jitter %g, set back after %s", ms(e.GetInitialBackoffMs()), ms(e.GetMaxBackoffMs()),
			e.GetBackoffMultiplier(), e.GetJitterFactor(), ms(e.GetResetBackoffThresholdMs()))
		if n := e.GetAttemptsBeforeResetBackoff(); n > 0 {
			text += fmt.Sprintf(", %d attempts until then", n)
		}
		return text
	}
	return ""
}
