package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Summaries returns one line for each job, in the order of their creation.
func (m *Machine) Summaries() []*holdfastv1.JobSummary {
	out := make([]*holdfastv1.JobSummary, 0, len(m.jobs))
	for _, j := range m.jobs {
		out = append(out, summary(j))
	}
	return out
}

func summary(j jobState) *holdfastv1.JobSummary {
	s := &holdfastv1.JobSummary{
		JobId: j.JobId, Name: j.Spec.Name, Status: j.Status, CreatedMs: j.CreatedMs, EndedMs: j.EndedMs,
		LatestCompletedCheckpoint: j.LatestCompleted, Restarts: j.Restart.Restarts, SubmissionId: j.SubmissionId,
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) {
		s.Subtasks++
		if st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			s.SubtasksRunning++
		}
	})
	return s
}

// Describe tells all about a job but the sizes of its states, which the keyed
// state knows, and its standby slots, which the leader knows.
func (m *Machine) Describe(id string) *holdfastv1.JobDescription {
	j := m.byID[id]
	if j == nil {
		return nil
	}
	d := &holdfastv1.JobDescription{
		Summary: summary(j), Spec: proto.CloneOf(j.Spec), Reason: proto.CloneOf(j.Reason), CheckpointCounts: counts(j),
	}
	for _, x := range j.Exceptions {
		d.Exceptions = append(d.Exceptions, proto.CloneOf(x))
	}
	forSubtasks(j, func(v vertexState, st subtaskState) {
		d.Subtasks = append(d.Subtasks, &holdfastv1.SubtaskDescription{
			OperatorUid: v.OperatorUid, Index: st.Index, Status: st.Status, Attempt: st.Attempt, FencingToken: st.FencingToken,
			LastSeq: st.LastSeq, NodeId: st.NodeId, NodeName: m.nodeName(st.NodeId), InstanceId: st.InstanceId, ProcessId: st.ProcessId, RestoredCheckpoint: st.RestoredCheckpoint,
			Positions: describePositions(j, v, st), KeyGroupStart: st.KeyGroupStart, KeyGroupEnd: st.KeyGroupEnd,
		})
	})
	return d
}

func describePositions(j jobState, v vertexState, st subtaskState) []*holdfastv1.Position {
	if len(st.FinishedPositions) > 0 {
		return clonePositions(st.FinishedPositions)
	}
	var out []*holdfastv1.Position
	for _, s := range startSplits(j, v, st) {
		if s.StartOffset != nil {
			out = append(out, &holdfastv1.Position{Topic: s.Topic, Partition: s.Partition, NextOffset: *s.StartOffset, LeaderEpoch: -1})
		}
	}
	slices.SortFunc(out, func(a, b *holdfastv1.Position) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return out
}

func clonePositions(ps []*holdfastv1.Position) []*holdfastv1.Position {
	out := make([]*holdfastv1.Position, len(ps))
	for i, p := range ps {
		out[i] = proto.CloneOf(p)
	}
	return out
}

// Checkpoints returns the pending and the remembered checkpoints of a job,
// newest first.
func (m *Machine) Checkpoints(id string) ([]*holdfastv1.Checkpoint, *holdfastv1.CheckpointCounts) {
	j := m.byID[id]
	if j == nil {
		return nil, nil
	}
	var out []*holdfastv1.Checkpoint
	if j.Pending != nil {
		out = append(out, withoutHandles(j.Pending))
	}
	for i := len(j.History) - 1; i >= 0; i-- {
		out = append(out, withoutHandles(j.History[i]))
	}
	return out, counts(j)
}

// withoutHandles clones what people look at: handles may be megabytes.
func withoutHandles(c *holdfastv1.Checkpoint) *holdfastv1.Checkpoint {
	out := &holdfastv1.Checkpoint{
		Id: c.Id, Status: c.Status, Trigger: c.Trigger, TriggeredMs: c.TriggeredMs, EndedMs: c.EndedMs, Reason: proto.CloneOf(c.Reason),
		Retained: c.Retained, Subtasks: c.Subtasks, Kind: c.Kind, Then: c.Then, ExternalPath: c.ExternalPath,
		SavepointDirectory: c.SavepointDirectory, SavepointPath: c.SavepointPath, ExportError: proto.CloneOf(c.ExportError),
	}
	for _, a := range c.Acks {
		out.Acks = append(out.Acks, &holdfastv1.SubtaskAck{
			SubtaskId: a.SubtaskId, OperatorUid: a.OperatorUid, SubtaskIndex: a.SubtaskIndex, FencingToken: a.FencingToken, AckedMs: a.AckedMs,
			Positions: clonePositions(a.Positions), StateBytes: a.StateBytes, FlushedBytes: a.FlushedBytes,
			Times: proto.CloneOf(a.Times), UploadedBytes: a.UploadedBytes,
		})
	}
	return out
}

// CheckpointSummary returns the numbers over all completed checkpoints of a job,
// nil if there was none.
func (m *Machine) CheckpointSummary(id string) *holdfastv1.CheckpointSummary {
	return proto.CloneOf(m.byID[id].GetSummary())
}

// DescribeCheckpoint returns one remembered checkpoint of a job and the subtasks
// whose acks it lacks.
func (m *Machine) DescribeCheckpoint(jobID string, id uint64) (*holdfastv1.DescribeCheckpointResponse, *holdfastv1.Error) {
	c := m.Checkpoint(jobID, id)
	if c == nil {
		return nil, Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND,
			fmt.Sprintf("checkpoint %d of job %q is not remembered; `holdfast checkpoints` lists those that are", id, m.byID[jobID].GetSpec().GetName()))
	}
	return &holdfastv1.DescribeCheckpointResponse{Checkpoint: c, Missing: missingAcks(m.byID[jobID], c)}, nil
}

// counts completes the counted with what is under way.
func counts(j jobState) *holdfastv1.CheckpointCounts {
	c := proto.CloneOf(j.Counts)
	if j.Pending != nil {
		c.InProgress = 1
	}
	return c
}

// Checkpoint returns one remembered checkpoint of a job, nil if unknown.
func (m *Machine) Checkpoint(jobID string, id uint64) *holdfastv1.Checkpoint {
	all, _ := m.Checkpoints(jobID)
	for _, c := range all {
		if c.Id == id {
			return c
		}
	}
	return nil
}

// StateSizes asks size for the bytes and entries of every state of a described
// subtask, by its place in the description.
func (m *Machine) StateSizes(jobID string, d *holdfastv1.JobDescription, size func(subtask uint64, state uint32) (bytes, entries int64)) {
	j := m.byID[jobID]
	if j == nil || ended(j.Status) {
		return
	}
	i := 0
	forSubtasks(j, func(v vertexState, st subtaskState) {
		for _, id := range v.StateIds {
			b, n := size(st.Id, id.Id)
			d.Subtasks[i].States = append(d.Subtasks[i].States, &holdfastv1.StateSize{
				Name: id.StateName, Bytes: uint64(b), Entries: uint64(n), LimitBytes: j.Spec.StateBackend.MemoryMaxSize,
			})
		}
		i++
	})
}
