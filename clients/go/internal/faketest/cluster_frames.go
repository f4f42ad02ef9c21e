package faketest

import (
	"maps"
	"time"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// handle takes one message up, unless a fault takes it first.
func (c *Cluster) handle(l *link, m *holdfastv1.OperatorMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hb := m.GetHeartbeat(); hb != nil {
		l.send(&holdfastv1.HostMessage_HeartbeatEcho{HeartbeatEcho: &holdfastv1.HeartbeatEcho{Sequence: hb.GetSequence()}})
		return
	}
	if l.fenced {
		return
	}
	if c.chance(c.Faults.Lose) {
		c.Breaks++
		l.cut()
		return
	}
	if c.chance(c.Faults.FenceOwn) && c.owner == l {
		// Nothing of the stream counts any more, or a frame would be missing.
		l.fenced = true
		l.send(&holdfastv1.HostMessage_Fenced{Fenced: &holdfastv1.Fenced{FencingToken: c.token, Attempt: c.attempt}})
		return
	}
	lost := c.chance(c.Faults.LoseAnswer)
	answer := l.send
	if lost {
		c.Breaks++
		answer = func(any) {}
	}
	c.apply(l, m, answer)
	if lost {
		l.cut()
	}
}

func (c *Cluster) apply(l *link, m *holdfastv1.OperatorMessage, answer func(any)) {
	token, seq := frameOf(m)
	switch {
	case token > l.token:
		c.t.Errorf("token %d was never given out on this stream, whose token is %d: %v", token, l.token, m)
	case token < l.token:
		// Of an older attempt or resume of the same stream: dropped.
	case token != c.token || c.owner != l:
		// The subtask went to another slot.
		c.standby[l] = true
		answer(&holdfastv1.HostMessage_Fenced{Fenced: &holdfastv1.Fenced{FencingToken: c.token, Attempt: c.attempt}})
	case m.GetGet() != nil:
		answer(&holdfastv1.HostMessage_Values{Values: AnswerGet(m.GetGet(), func(sec *holdfastv1.KeySection, key string) (string, bool) {
			v, ok := c.state[Fingerprint(sec.GetStateId(), sec.KeyGroup, key)]
			return v, ok
		})})
	case m.GetFailed() != nil:
		c.t.Errorf("the attempt failed: %v", m.GetFailed())
	case seq == 0:
		// BarrierPassed and the like.
	case seq > c.lastSeq+1:
		c.t.Errorf("seq %d follows %d", seq, c.lastSeq)
	default:
		if seq == c.lastSeq+1 {
			c.lastSeq = seq
			c.applyFrame(l, m)
		}
		if seq > l.acked+framesInFlight {
			c.t.Errorf("seq %d is sent where %d is acknowledged: the window is %d", seq, l.acked, framesInFlight)
		}
		if !c.chance(c.Faults.HoldAck) {
			c.ack(l, answer)
		}
		if c.finished {
			c.end(l)
		}
	}
}

func (c *Cluster) ack(l *link, answer func(any)) {
	l.acked = c.lastSeq
	answer(&holdfastv1.HostMessage_FlushAck{FlushAck: &holdfastv1.FlushAck{FencingToken: c.token, ThroughSeq: c.lastSeq}})
}

func frameOf(m *holdfastv1.OperatorMessage) (token, seq uint64) {
	switch x := m.GetMessage().(type) {
	case *holdfastv1.OperatorMessage_Flush:
		return x.Flush.GetFencingToken(), x.Flush.GetSeq()
	case *holdfastv1.OperatorMessage_CheckpointReady:
		return x.CheckpointReady.GetFencingToken(), x.CheckpointReady.GetSeq()
	case *holdfastv1.OperatorMessage_Finished:
		return x.Finished.GetFencingToken(), x.Finished.GetSeq()
	case *holdfastv1.OperatorMessage_Get:
		return x.Get.GetFencingToken(), 0
	case *holdfastv1.OperatorMessage_BarrierPassed:
		return x.BarrierPassed.GetFencingToken(), 0
	case *holdfastv1.OperatorMessage_Failed:
		return x.Failed.GetFencingToken(), 0
	}
	return 0, 0
}

// rules are those of a state, by the number that assign gave it.
func (c *Cluster) rules(id uint32) statevalue.State {
	for _, op := range c.spec.GetOperators() {
		for _, d := range op.GetStates() {
			if id--; id == 0 {
				return Rules(d)
			}
		}
	}
	return statevalue.State{}
}

// Rules are what a descriptor says of stored values.
func Rules(d *holdfastv1.StateDescriptor) statevalue.State {
	s := statevalue.State{TTLMs: int64(d.GetTtl().GetTtlMs())}
	switch d.GetKind() {
	case holdfastv1.StateKind_STATE_KIND_LIST:
		s.Kind = statevalue.List
	case holdfastv1.StateKind_STATE_KIND_MAP:
		s.Kind = statevalue.Map
	}
	switch d.GetType() {
	case "int64":
		s.Type = statevalue.Int64
	case "float64":
		s.Type = statevalue.Float64
	}
	return s
}

// applyFrame is what the log does with a frame in its place.
func (c *Cluster) applyFrame(l *link, m *holdfastv1.OperatorMessage) {
	for _, op := range Ops(m.GetFlush()) {
		k, s := Fingerprint(op.State, op.Group, op.Key), c.rules(op.State)
		if _, err := s.CheckOperand(byte(op.Op), []byte(op.Value)); err != nil {
			c.t.Errorf("state %d, key %q: %v: %v", op.State, op.Key, op.Op, err)
			continue
		}
		old, found := c.state[k]
		value, kept, err := s.Combine(nil, byte(op.Op), []byte(old), found, []byte(op.Value), time.Now().UnixMilli())
		if err != nil {
			c.t.Errorf("state %d, key %q: %v: %v", op.State, op.Key, op.Op, err)
		}
		if delete(c.state, k); kept {
			c.state[k] = string(value)
		}
	}
	if r := m.GetCheckpointReady(); r != nil && r.GetCheckpointId() == c.pending {
		c.versions[c.pending] = Version{State: maps.Clone(c.state), Positions: r.GetPositions()}
		c.newest, c.pending = c.pending, 0
		c.Completed++
		l.send(&holdfastv1.HostMessage_CheckpointComplete{CheckpointComplete: &holdfastv1.CheckpointComplete{
			FencingToken: c.token, CheckpointId: c.newest,
		}})
	}
	if f := m.GetFinished(); f != nil {
		c.finished = true
		c.Final = &Version{State: maps.Clone(c.state), Positions: f.GetPositions()}
		for other := range c.links {
			if other != l {
				c.end(other)
			}
		}
	}
}
