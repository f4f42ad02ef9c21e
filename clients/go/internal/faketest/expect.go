package faketest

import (
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Get expects a Get.
func (s *Stream) Get() *holdfastv1.Get {
	s.t.Helper()
	m := s.Next()
	if m.GetGet() == nil {
		s.t.Fatalf("expected Get, got %v", m)
	}
	return m.GetGet()
}

// Flush expects a Flush.
func (s *Stream) Flush() *holdfastv1.Flush {
	s.t.Helper()
	m := s.Next()
	if m.GetFlush() == nil {
		s.t.Fatalf("expected Flush, got %v", m)
	}
	return m.GetFlush()
}

// BarrierPassed expects a BarrierPassed.
func (s *Stream) BarrierPassed() *holdfastv1.BarrierPassed {
	s.t.Helper()
	m := s.Next()
	if m.GetBarrierPassed() == nil {
		s.t.Fatalf("expected BarrierPassed, got %v", m)
	}
	return m.GetBarrierPassed()
}

// Ready expects a CheckpointReady.
func (s *Stream) Ready() *holdfastv1.CheckpointReady {
	s.t.Helper()
	m := s.Next()
	if m.GetCheckpointReady() == nil {
		s.t.Fatalf("expected CheckpointReady, got %v", m)
	}
	return m.GetCheckpointReady()
}

// Failed expects a Failed.
func (s *Stream) Failed() *holdfastv1.Failed {
	s.t.Helper()
	m := s.Next()
	if m.GetFailed() == nil {
		s.t.Fatalf("expected Failed, got %v", m)
	}
	return m.GetFailed()
}

// Finished expects a Finished.
func (s *Stream) Finished() *holdfastv1.Finished {
	s.t.Helper()
	m := s.Next()
	if m.GetFinished() == nil {
		s.t.Fatalf("expected Finished, got %v", m)
	}
	return m.GetFinished()
}

// SplitsFound expects a SplitsFound.
func (s *Stream) SplitsFound() *holdfastv1.SplitsFound {
	s.t.Helper()
	m := s.Next()
	if m.GetSplitsFound() == nil {
		s.t.Fatalf("expected SplitsFound, got %v", m)
	}
	return m.GetSplitsFound()
}

// Assign sends an Assign.
func (s *Stream) Assign(a *holdfastv1.Assign) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Assign{Assign: a}})
}

// Restored sends a RestoredOperatorState.
func (s *Stream) Restored(token uint64, states ...*holdfastv1.OperatorState) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_RestoredOperatorState{
		RestoredOperatorState: &holdfastv1.RestoredOperatorState{FencingToken: token, States: states},
	}})
}

// Resume sends a Resume.
func (s *Stream) Resume(r *holdfastv1.Resume) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Resume{Resume: r}})
}

// Ack sends a FlushAck.
func (s *Stream) Ack(token, through uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_FlushAck{
		FlushAck: &holdfastv1.FlushAck{FencingToken: token, ThroughSeq: through},
	}})
}

// Barrier sends a Barrier.
func (s *Stream) Barrier(token, n uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Barrier{
		Barrier: &holdfastv1.Barrier{FencingToken: token, CheckpointId: n},
	}})
}

// BarrierThen sends the Barrier of a savepoint with what comes after its cut.
func (s *Stream) BarrierThen(token, n uint64, then holdfastv1.BarrierThen) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Barrier{Barrier: &holdfastv1.Barrier{
		FencingToken: token, CheckpointId: n, Kind: holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT, Then: then,
	}}})
}

// Aborted sends a CheckpointAborted.
func (s *Stream) Aborted(token, n uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_CheckpointAborted{
		CheckpointAborted: &holdfastv1.CheckpointAborted{FencingToken: token, CheckpointId: n},
	}})
}

// Complete sends a CheckpointComplete.
func (s *Stream) Complete(token, n uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_CheckpointComplete{
		CheckpointComplete: &holdfastv1.CheckpointComplete{FencingToken: token, CheckpointId: n},
	}})
}

// Revoke sends a Revoke.
func (s *Stream) Revoke(token uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Revoke{
		Revoke: &holdfastv1.Revoke{FencingToken: token},
	}})
}

// Fenced sends a Fenced.
func (s *Stream) Fenced(token, attempt uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Fenced{
		Fenced: &holdfastv1.Fenced{FencingToken: token, Attempt: attempt},
	}})
}

// Refused sends a Refused.
func (s *Stream) Refused(token, seq uint64) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Refused{Refused: &holdfastv1.Refused{
		FencingToken: token, Seq: seq,
		Error: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE},
	}}})
}

// GoAway sends a GoAway.
func (s *Stream) GoAway() {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_GoAway{GoAway: &holdfastv1.GoAway{}}})
}

// GoAwayTo sends a GoAway that names a node.
func (s *Stream) GoAwayTo(address string) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_GoAway{GoAway: &holdfastv1.GoAway{Address: address}}})
}

// JobEnded sends a JobEnded and ends the stream with OK.
func (s *Stream) JobEnded(status holdfastv1.JobStatus) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_JobEnded{
		JobEnded: &holdfastv1.JobEnded{Status: status},
	}})
	s.End(nil)
}

// Discover sends a DiscoverSplits.
func (s *Stream) Discover(uid string, resolve bool) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_DiscoverSplits{
		DiscoverSplits: &holdfastv1.DiscoverSplits{OperatorUid: uid, ResolveOffsets: resolve},
	}})
}

// Values sends one Values.
func (s *Stream) Values(v *holdfastv1.Values) {
	s.Send(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Values{Values: v}})
}

// Absent answers a Get: no key is found.
func (s *Stream) Absent(g *holdfastv1.Get) { s.Answer(g, nil) }

// Answer answers a Get from a map of encoded keys to encoded values.
func (s *Stream) Answer(g *holdfastv1.Get, state map[string]string) {
	s.Values(AnswerGet(g, func(_ *holdfastv1.KeySection, key string) (string, bool) {
		v, ok := state[key]
		return v, ok
	}))
}

// AnswerGet makes the Values of a Get.
func AnswerGet(g *holdfastv1.Get, look func(sec *holdfastv1.KeySection, key string) (string, bool)) *holdfastv1.Values {
	v := &holdfastv1.Values{FencingToken: g.GetFencingToken(), RequestId: g.GetRequestId(), Last: true, TimeMs: time.Now().UnixMilli()}
	for i, sec := range g.GetSections() {
		out := &holdfastv1.ValueSection{StateId: sec.GetStateId(), Section: uint32(i)}
		for _, key := range Cells(sec.GetKeys(), sec.GetKeyLengths()) {
			value, ok := look(sec, key)
			found := byte(0)
			if ok {
				found = 1
			}
			out.Found = append(out.Found, found)
			out.ValueLengths = append(out.ValueLengths, uint32(len(value)))
			out.Values = append(out.Values, value...)
		}
		v.Sections = append(v.Sections, out)
	}
	return v
}

// Cells takes a column apart.
func Cells(column []byte, lengths []uint32) []string {
	out := make([]string, len(lengths))
	for i, n := range lengths {
		out[i] = string(column[:n])
		column = column[n:]
	}
	return out
}

// Op is one operation of a flush.
type Op struct {
	State uint32
	Group *uint32
	Op    holdfastv1.FlushOp
	Key   string
	Value string
}

// Ops takes a flush apart.
func Ops(f *holdfastv1.Flush) []Op {
	var ops []Op
	for _, sec := range f.GetSections() {
		keys, values := Cells(sec.GetKeys(), sec.GetKeyLengths()), Cells(sec.GetValues(), sec.GetValueLengths())
		for i, op := range sec.GetOps() {
			ops = append(ops, Op{
				State: sec.GetStateId(), Group: sec.KeyGroup, Op: holdfastv1.FlushOp(op), Key: keys[i], Value: values[i],
			})
		}
	}
	return ops
}
