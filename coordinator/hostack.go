package coordinator

import (
	"fmt"
	"slices"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// judgeHost judges what the host of a subtask's working state says by its token
// alone: the order of its frames is the stream's. nil says that it may.
func (m *Machine) judgeHost(ref subtaskRef, token uint64) *internalv1.CommandResult {
	switch {
	case ref.st == nil:
		return refusal(jobGone())
	case !onHost(ref.job):
		return refusal(Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the state of this job is not on its hosts"))
	case !tokenIsCurrent(ref.st, token):
		return m.answer(ref.st, fenced(ref.st))
	}
	return nil
}

// judgeAck is judgeHost for what belongs to a checkpoint: it must wait for this
// subtask. An ack that stands already is answered as it was.
func (m *Machine) judgeAck(ref subtaskRef, command string, token, checkpoint uint64) *internalv1.CommandResult {
	if r := m.judgeHost(ref, token); r != nil {
		return r
	}
	if c := remembered(ref.job, checkpoint); ackOf(c, ref.st.Id).GetFencingToken() == token && c != nil {
		m.metrics.countUnchanged(command, reasonSecondAck)
		return m.answer(ref.st, nil)
	}
	if !waitsFor(ref.job, checkpoint) {
		return m.answer(ref.st, Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_DECIDED, fmt.Sprintf("checkpoint %d is not pending", checkpoint)))
	}
	return nil
}

// applyAckPart keeps handles that do not fit into an ack until that comes.
func (m *Machine) applyAckPart(c *internalv1.AckPart) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if c.CheckpointId == 0 {
		if r := m.judgeHost(ref, c.FencingToken); r != nil {
			return r
		}
		if ref.st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
			return m.answer(ref.st, nil)
		}
	} else if r := m.judgeAck(ref, "ack_part", c.FencingToken, c.CheckpointId); r != nil {
		return r
	}
	p := partsOf(ref.job, c.SubtaskId, c.CheckpointId)
	switch {
	case c.Part < p.GetParts():
		m.metrics.countUnchanged("ack_part", reasonDuplicate)
		return m.answer(ref.st, nil)
	case c.Part > p.GetParts():
		return m.answer(ref.st, partsMissing(p.GetParts(), c.Part))
	case p == nil:
		p = &internalv1.AckParts{SubtaskId: c.SubtaskId, CheckpointId: c.CheckpointId}
	}
	e := checkTotal(ref.job, c.Handles)
	joined := joinHandles(p.Handles, c.Handles)
	if e == nil {
		e = checkSize(ref, joined)
	}
	if e != nil {
		return m.answer(ref.st, e)
	}
	if p.Parts == 0 {
		ref.job.AckParts = append(ref.job.AckParts, p)
	}
	p.Handles, p.Parts = joined, p.Parts+1
	countInline(ref.job, c.Handles)
	return m.answer(ref.st, nil)
}

func partsMissing(have, want uint32) *holdfastv1.Error {
	return notApplied(holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP,
		fmt.Sprintf("part %d of the handles does not follow; send again from part %d", want, have), "part", fmt.Sprint(have))
}

func partsOf(j jobState, subtask, checkpoint uint64) *internalv1.AckParts {
	for _, p := range j.AckParts {
		if p.SubtaskId == subtask && p.CheckpointId == checkpoint {
			return p
		}
	}
	return nil
}

func dropParts(j jobState, which func(*internalv1.AckParts) bool) {
	j.AckParts = slices.DeleteFunc(j.AckParts, func(p *internalv1.AckParts) bool {
		drop := which(p)
		if drop && j.Pending != nil {
			j.PendingInlineBytes -= inlineBytes(p.Handles)
		}
		return drop
	})
}

// takeHandles puts the parts and the handles of an ack together and judges them.
func (m *Machine) takeHandles(ref subtaskRef, checkpoint uint64, parts uint32, last []*holdfastv1.StateHandle, base uint64) ([]*holdfastv1.StateHandle, *holdfastv1.Error) {
	p := partsOf(ref.job, ref.st.Id, checkpoint)
	if p.GetParts() != parts {
		return nil, partsMissing(p.GetParts(), parts)
	}
	if e := checkTotal(ref.job, last); e != nil {
		return nil, e
	}
	all := joinHandles(p.GetHandles(), last)
	shared, e := baseHandles(ref, base)
	if e != nil {
		return nil, e
	}
	if e := checkHandles(ref, checkpoint, all, shared); e != nil {
		return nil, e
	}
	if e := checkUnion(ref, all); e != nil {
		return nil, e
	}
	dropParts(ref.job, func(x *internalv1.AckParts) bool { return x == p })
	countInline(ref.job, all)
	return all, nil
}

// baseHandles returns what the ack of a subtask in a base named.
func baseHandles(ref subtaskRef, base uint64) ([]*holdfastv1.StateHandle, *holdfastv1.Error) {
	if base == 0 {
		return nil, nil
	}
	for _, c := range ref.job.History {
		if c.Id == base && c.Retained {
			return ackOf(c, ref.st.Id).GetHandles(), nil
		}
	}
	return nil, Failure(holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND,
		fmt.Sprintf("the base, checkpoint %d, is not completed and retained", base), "checkpoint", fmt.Sprint(base))
}

func ackOf(c *holdfastv1.Checkpoint, subtask uint64) *holdfastv1.SubtaskAck {
	for _, a := range c.GetAcks() {
		if a.SubtaskId == subtask {
			return a
		}
	}
	return nil
}

// applyAckCheckpoint takes the ack of a subtask whose state is on its host. It is
// judged once; a second one is answered as the first.
func (m *Machine) applyAckCheckpoint(c *internalv1.AckCheckpoint) *internalv1.CommandResult {
	ref := m.bySubtask[c.SubtaskId]
	if r := m.judgeAck(ref, "ack_checkpoint", c.FencingToken, c.CheckpointId); r != nil {
		return r
	}
	if acked(ref.job.Pending, c.SubtaskId) {
		return m.answer(ref.st, fenced(ref.st)) // as it finished
	}
	handles, e := m.takeHandles(ref, c.CheckpointId, c.Parts, c.Handles, c.BaseCheckpointId)
	if e != nil {
		return m.answer(ref.st, e)
	}
	res := m.answer(ref.st, nil)
	m.addAck(ref, &holdfastv1.SubtaskAck{
		AckedMs: c.TimeMs, Positions: c.Positions, StateBytes: c.StateBytes, FlushedBytes: c.FlushedBytes,
		UploadedBytes: c.UploadedBytes, Times: c.Times, Handles: handles,
	})
	return res
}

// finishOnHost ends a subtask whose state is on its host. There is no seq: one
// that comes again finds the subtask finished.
func (m *Machine) finishOnHost(index uint64, ref subtaskRef, c *internalv1.Finish) *internalv1.CommandResult {
	if r := m.judgeHost(ref, c.FencingToken); r != nil {
		return r
	}
	if ref.st.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
		m.metrics.countUnchanged("finish", reasonDuplicate)
		return m.answer(ref.st, nil)
	}
	if ref.st.Loading {
		return m.answer(ref.st, stillLoading())
	}
	handles, e := m.takeHandles(ref, 0, c.Parts, c.Handles, c.BaseCheckpointId)
	if e != nil {
		return m.answer(ref.st, e)
	}
	for _, h := range handles {
		// Every later checkpoint shares them.
		h.Shared = h.File != ""
	}
	ref.st.FinishedHandles, ref.st.FinishedBytes = handles, c.StateBytes
	return m.finish(index, ref, c)
}
