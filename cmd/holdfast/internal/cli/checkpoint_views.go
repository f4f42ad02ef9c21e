package cli

import (
	"fmt"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type checkpointView struct {
	ID           uint64     `json:"id"`
	Status       string     `json:"status"`
	Trigger      string     `json:"trigger"`
	TriggeredMs  int64      `json:"triggered_ms"`
	EndedMs      int64      `json:"ended_ms,omitempty"`
	DurationMs   int64      `json:"duration_ms,omitempty"`
	Subtasks     int        `json:"subtasks"`
	Acks         int        `json:"acks"`
	StateBytes   uint64     `json:"state_bytes"`
	FlushedBytes uint64     `json:"flushed_bytes"`
	Retained     bool       `json:"retained"`
	Reason       *errorView `json:"reason,omitempty"`
	Kind         string     `json:"kind"`
	// UploadedBytes were written for this checkpoint alone.
	UploadedBytes uint64 `json:"uploaded_bytes"`
	// Path is the directory of its files, for holdfast run --from-savepoint.
	Path string `json:"path,omitempty"`
	// Savepoint is where its savepoint is, or SavepointError why there is none.
	Savepoint      string     `json:"savepoint,omitempty"`
	SavepointError *errorView `json:"savepoint_error,omitempty"`
}

// triggerText says what began it, and that it is a savepoint.
func (v checkpointView) triggerText() string {
	if v.Kind == "SAVEPOINT" {
		return "SAVEPOINT"
	}
	return v.Trigger
}

// directory is what a person may begin from: the savepoint, else the files of the
// checkpoint.
func (v checkpointView) directory() string {
	if v.Savepoint != "" {
		return v.Savepoint
	}
	return v.Path
}

func viewCheckpoint(c *holdfastv1.Checkpoint) checkpointView {
	v := checkpointView{
		ID:          c.GetId(),
		Status:      strings.TrimPrefix(c.GetStatus().String(), "CHECKPOINT_STATUS_"),
		Trigger:     strings.TrimPrefix(c.GetTrigger().String(), "CHECKPOINT_TRIGGER_"),
		TriggeredMs: c.GetTriggeredMs(), EndedMs: c.GetEndedMs(),
		Acks: len(c.GetAcks()), Subtasks: max(int(c.GetSubtasks()), len(c.GetAcks())),
		Retained: c.GetRetained(), Reason: viewError(c.GetReason()), Kind: "CHECKPOINT",
		Path: c.GetExternalPath(), Savepoint: c.GetSavepointPath(), SavepointError: viewError(c.GetExportError()),
	}
	if c.GetKind() == holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT {
		v.Kind = "SAVEPOINT"
	}
	if v.EndedMs > 0 {
		v.DurationMs = max(v.EndedMs-v.TriggeredMs, 0)
	}
	for _, ack := range c.GetAcks() {
		v.StateBytes += ack.GetStateBytes()
		v.FlushedBytes += ack.GetFlushedBytes()
		v.UploadedBytes += ack.GetUploadedBytes()
	}
	return v
}

// statsView is a row of numbers in short.
type statsView struct {
	Count uint64 `json:"count"`
	Min   uint64 `json:"min"`
	Avg   uint64 `json:"avg"`
	Max   uint64 `json:"max"`
}

func viewStats(s *holdfastv1.StatsSummary) statsView {
	return statsView{Count: s.GetCount(), Min: s.GetMin(), Avg: s.GetSum() / max(s.GetCount(), 1), Max: s.GetMax()}
}

type summaryView struct {
	EndToEndMs   statsView `json:"end_to_end_ms"`
	StateBytes   statsView `json:"state_bytes"`
	FlushedBytes statsView `json:"flushed_bytes"`
}

type checkpointsView struct {
	Checkpoints []checkpointView `json:"checkpoints"`
	Counts      countsView       `json:"counts"`
	Summary     *summaryView     `json:"summary,omitempty"`
}

func viewCheckpoints(answer *holdfastv1.ListCheckpointsResponse) checkpointsView {
	v := checkpointsView{Checkpoints: []checkpointView{}, Counts: viewCounts(answer.GetCounts())}
	for _, c := range answer.GetCheckpoints() {
		v.Checkpoints = append(v.Checkpoints, viewCheckpoint(c))
	}
	if s := answer.GetSummary(); s.GetEndToEndMs().GetCount() > 0 {
		v.Summary = &summaryView{viewStats(s.GetEndToEndMs()), viewStats(s.GetStateBytes()), viewStats(s.GetFlushedBytes())}
	}
	return v
}

type subtaskName struct {
	OperatorUID string `json:"operator_uid"`
	Index       uint32 `json:"index"`
}

func (s subtaskName) name() string { return fmt.Sprintf("%s/%d", s.OperatorUID, s.Index) }

// subtaskAckView is what a subtask did for a checkpoint. Times that its host could
// not measure are absent.
type subtaskAckView struct {
	subtaskName
	AckedMs      int64          `json:"acked_ms"`
	EndToEndMs   int64          `json:"end_to_end_ms"`
	StartDelayMs *float64       `json:"start_delay_ms,omitempty"`
	SyncMs       *float64       `json:"sync_ms,omitempty"`
	AsyncMs      *float64       `json:"async_ms,omitempty"`
	StateBytes   uint64         `json:"state_bytes"`
	FlushedBytes uint64         `json:"flushed_bytes"`
	Uploaded     uint64         `json:"uploaded_bytes"`
	Positions    []positionView `json:"positions,omitempty"`
}

type checkpointDetailView struct {
	checkpointView
	SubtaskList []subtaskAckView `json:"subtask_list"`
	// Missing are those that have not acked.
	Missing []subtaskName `json:"missing,omitempty"`
}

func viewCheckpointDetail(d *holdfastv1.DescribeCheckpointResponse) checkpointDetailView {
	c := d.GetCheckpoint()
	v := checkpointDetailView{checkpointView: viewCheckpoint(c), SubtaskList: []subtaskAckView{}}
	for _, ack := range c.GetAcks() {
		s := subtaskAckView{
			subtaskName: subtaskName{ack.GetOperatorUid(), ack.GetSubtaskIndex()}, AckedMs: ack.GetAckedMs(),
			EndToEndMs: max(ack.GetAckedMs()-c.GetTriggeredMs(), 0), StateBytes: ack.GetStateBytes(), FlushedBytes: ack.GetFlushedBytes(),
			Uploaded: ack.GetUploadedBytes(), Positions: viewPositions(ack.GetPositions()),
		}
		if t := ack.GetTimes(); t != nil {
			s.StartDelayMs, s.SyncMs, s.AsyncMs = fromMicros(&t.StartDelayUs), fromMicros(t.SyncUs), fromMicros(t.AsyncUs)
		}
		v.SubtaskList = append(v.SubtaskList, s)
	}
	for _, m := range d.GetMissing() {
		v.Missing = append(v.Missing, subtaskName{m.GetOperatorUid(), m.GetSubtaskIndex()})
	}
	return v
}

func fromMicros(us *uint64) *float64 {
	if us == nil {
		return nil
	}
	ms := float64(*us) / 1000
	return &ms
}
