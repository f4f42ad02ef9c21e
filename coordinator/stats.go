package coordinator

import (
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// summarize adds a completed checkpoint to the summary of its job.
func summarize(j jobState, c *holdfastv1.Checkpoint) {
	if j.Summary == nil {
		j.Summary = &holdfastv1.CheckpointSummary{
			EndToEndMs: &holdfastv1.StatsSummary{}, StateBytes: &holdfastv1.StatsSummary{}, FlushedBytes: &holdfastv1.StatsSummary{},
		}
	}
	var state, flushed uint64
	for _, a := range c.Acks {
		state += a.StateBytes
		flushed += a.FlushedBytes
	}
	// The clocks of the trigger and of the last ack may be those of two nodes.
	addStat(j.Summary.EndToEndMs, uint64(max(c.EndedMs-c.TriggeredMs, 0)))
	addStat(j.Summary.StateBytes, state)
	addStat(j.Summary.FlushedBytes, flushed)
}

func addStat(s *holdfastv1.StatsSummary, v uint64) {
	if s.Count == 0 {
		s.Min = v
	}
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	s.Count++
	s.Sum += v
}

// sectionBytes is the size of keys and values of a flush.
func sectionBytes(sections []*holdfastv1.FlushSection) (n uint64) {
	for _, s := range sections {
		n += uint64(len(s.Keys) + len(s.Values))
	}
	return n
}

// missingAcks names the subtasks that have not acked a checkpoint which is not
// completed.
func missingAcks(j jobState, c *holdfastv1.Checkpoint) (out []*holdfastv1.SubtaskName) {
	if c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
		return nil
	}
	forSubtasks(j, func(v vertexState, st subtaskState) {
		if !slices.ContainsFunc(c.Acks, func(a *holdfastv1.SubtaskAck) bool { return a.SubtaskId == st.Id }) {
			out = append(out, &holdfastv1.SubtaskName{OperatorUid: v.OperatorUid, SubtaskIndex: st.Index})
		}
	})
	return out
}

// exceptionClass maps what a client says of its failure.
func exceptionClass(c holdfastv1.FailureClass) holdfastv1.ExceptionClass {
	switch c {
	case holdfastv1.FailureClass_FAILURE_CLASS_USER:
		return holdfastv1.ExceptionClass_EXCEPTION_CLASS_USER
	case holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL:
		return holdfastv1.ExceptionClass_EXCEPTION_CLASS_EXTERNAL
	default:
		return holdfastv1.ExceptionClass_EXCEPTION_CLASS_INTERNAL
	}
}
