package harness

import (
	"encoding/binary"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// handle does what a message asks for; false: leave this stream.
func (s *flusherSlot) handle(m *holdfastv1.HostMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch x := m.Message.(type) {
	case *holdfastv1.HostMessage_DiscoverSplits:
		s.answerDiscovery(x.DiscoverSplits)
	case *holdfastv1.HostMessage_Assign:
		s.begin(x.Assign)
	case *holdfastv1.HostMessage_Resume:
		s.resume(x.Resume)
	case *holdfastv1.HostMessage_FlushAck:
		if x.FlushAck.FencingToken == s.token {
			s.ackThrough(x.FlushAck.ThroughSeq)
		}
	case *holdfastv1.HostMessage_Values:
		if x.Values.FencingToken == s.token {
			s.judge(x.Values)
		}
	case *holdfastv1.HostMessage_Barrier:
		if x.Barrier.FencingToken == s.token {
			s.barrier(x.Barrier)
		}
	case *holdfastv1.HostMessage_Fenced:
		if x.Fenced.Attempt == s.attempt && s.attempt != 0 {
			return false // the same attempt: Hello.resume again
		}
		s.drop()
	case *holdfastv1.HostMessage_Revoke:
		if x.Revoke.FencingToken == s.token {
			s.drop()
		}
	case *holdfastv1.HostMessage_Refused:
		if x.Refused.FencingToken == s.token {
			s.violation("flush %d was refused: %v", x.Refused.Seq, x.Refused.Error)
		}
	case *holdfastv1.HostMessage_JobEnded:
		s.ended = x.JobEnded
		return false
	case *holdfastv1.HostMessage_GoAway:
		return false
	}
	return true
}

func (s *flusherSlot) answerDiscovery(d *holdfastv1.DiscoverSplits) {
	found := &holdfastv1.SplitsFound{OperatorUid: d.OperatorUid}
	for p := range s.f.Config.Partitions {
		split := &holdfastv1.Split{Topic: "flushes", Partition: uint32(p)}
		if d.ResolveOffsets {
			split.StartOffset = new(int64)
		}
		found.Splits = append(found.Splits, split)
	}
	_ = s.stream.Send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_SplitsFound{SplitsFound: found}})
}

// begin starts an attempt. With checkpoints it goes back to the positions given;
// without, it goes on: whether the frames that were in flight were applied is
// not known then, so a scenario that compares must not get here.
func (s *flusherSlot) begin(a *holdfastv1.Assign) {
	s.drop()
	s.stats.Attempts++
	s.attempt, s.token, s.assign, s.lastBarrier = a.Attempt, a.FencingToken, a, 0
	if len(a.Splits) == 0 {
		s.violation("an assignment without splits: %v", a)
		return
	}
	if !a.CheckpointsEnabled {
		return
	}
	s.flushes = map[uint32]int64{}
	for _, split := range a.Splits {
		if split.StartOffset == nil {
			s.violation("with checkpoints, but split %d has no start offset", split.Partition)
			return
		}
		s.flushes[split.Partition] = *split.StartOffset
	}
	s.sent = FlusherSums(s.flushes, s.f.Config.Ops, s.f.Config.Keys)
	s.durable = FlusherSums(s.flushes, s.f.Config.Ops, s.f.Config.Keys)
}

func (s *flusherSlot) drop() {
	s.ackedBefore += s.acked
	s.attempt, s.token, s.seq, s.acked, s.frames, s.get = 0, 0, 0, 0, nil, nil
}

func (s *flusherSlot) resume(r *holdfastv1.Resume) {
	if r.Attempt != s.attempt {
		s.violation("Resume of attempt %d, the slot has %d", r.Attempt, s.attempt)
		return
	}
	if r.LastSeq < s.acked || r.LastSeq > s.seq {
		s.violation("Resume says last_seq %d; acknowledged were %d, sent %d", r.LastSeq, s.acked, s.seq)
		return
	}
	s.stats.Resumes++
	s.token, s.get = r.FencingToken, nil
	s.ackThrough(r.LastSeq)
	for _, fr := range s.frames {
		s.stats.Resent++
		_ = s.stream.Send(fr.message(s.token))
	}
}

func (s *flusherSlot) ackThrough(seq uint64) {
	if seq < s.acked || seq > s.seq {
		s.violation("FlushAck through %d; acknowledged were %d, sent %d", seq, s.acked, s.seq)
		return
	}
	s.acked = seq
	for len(s.frames) > 0 && s.frames[0].seq <= seq {
		for k, d := range s.frames[0].adds {
			s.durable[k] += d
		}
		if n := s.frames[0].number; n != 0 {
			s.f.Config.Observe.Acked(n)
		}
		s.frames = s.frames[1:]
	}
	if s.partial != nil && len(s.frames) > 0 {
		close(s.partial)
		s.partial = nil
	}
	if s.watchSeq != 0 && seq >= s.watchSeq && s.watchAt.IsZero() {
		s.watchAt = time.Now()
	}
}

// judge compares an answer to a Get with its bounds: a value below what was
// durable when it was asked is stale.
func (s *flusherSlot) judge(v *holdfastv1.Values) {
	g := s.get
	if g == nil || v.RequestId != g.id {
		return
	}
	s.get = nil
	if len(v.Sections) != 1 || len(v.Sections[0].Found) != 1 || !v.Last {
		s.violation("the answer to a Get of one key is %v", v)
		return
	}
	got, sec := int64(0), v.Sections[0]
	if sec.Found[0] == 1 && len(sec.Values) == 8 {
		got = int64(binary.LittleEndian.Uint64(sec.Values))
	}
	if got < g.atLeast || got > s.sent[g.key] {
		s.violation("Get of %q answers %d; durable when asked were %d, sent until now %d (attempt %d, host %s)",
			g.key, got, g.atLeast, s.sent[g.key], s.attempt, s.address)
	}
	s.stats.Gets++
}

// barrier makes the cut: everything flushed so far is before it.
func (s *flusherSlot) barrier(b *holdfastv1.Barrier) {
	if b.CheckpointId <= s.lastBarrier {
		return
	}
	s.lastBarrier = b.CheckpointId
	if s.f.Config.Dumb {
		return
	}
	_ = s.stream.Send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_BarrierPassed{
		BarrierPassed: &holdfastv1.BarrierPassed{FencingToken: s.token, CheckpointId: b.CheckpointId},
	}})
	ready := &holdfastv1.CheckpointReady{CheckpointId: b.CheckpointId}
	for _, split := range s.assign.Splits {
		ready.Positions = append(ready.Positions, &holdfastv1.Position{
			Topic: split.Topic, Partition: split.Partition, NextOffset: s.flushes[split.Partition], LeaderEpoch: -1,
		})
	}
	s.seq++
	ready.Seq = s.seq
	s.send(frame{seq: s.seq, ready: ready})
}
