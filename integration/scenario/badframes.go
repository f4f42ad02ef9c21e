package scenario

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type (
	flushMsg     = holdfastv1.Flush
	flushSection = holdfastv1.FlushSection
)

const (
	violation = "PROTOCOL_VIOLATION"
	tooLarge  = "VALUE_TOO_LARGE"
)

// badFrame is one way to break the protocol on a stream that has a subtask.
type badFrame struct {
	name string
	send func(s *rawSlot)
	want []string // any of these reasons
}

func badFlush(name string, change func(f *flushMsg, sec *flushSection), want ...string) badFrame {
	if len(want) == 0 {
		want = []string{violation}
	}
	return badFrame{name, func(s *rawSlot) { s.send(s.flush(1, change)) }, want}
}

func badFrames() []badFrame {
	v := []string{violation}
	return []badFrame{
		badFlush("key lengths above the bytes", func(_ *flushMsg, s *flushSection) { s.KeyLengths[0] = 2 }),
		badFlush("key lengths below the bytes", func(_ *flushMsg, s *flushSection) { s.KeyLengths[0] = 0 }),
		badFlush("key lengths that overflow", func(_ *flushMsg, s *flushSection) {
			s.Ops, s.KeyLengths = []byte{1, 1}, []uint32{1 << 31, 1<<31 + 1}
			s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16)
		}, tooLarge, violation),
		badFlush("value lengths above the bytes", func(_ *flushMsg, s *flushSection) { s.ValueLengths[0] = 9 }),
		badFlush("value lengths below the bytes", func(_ *flushMsg, s *flushSection) { s.ValueLengths[0] = 7 }),
		badFlush("more operations than keys", func(_ *flushMsg, s *flushSection) { s.Ops = []byte{1, 1} }),
		badFlush("more keys than operations", func(_ *flushMsg, s *flushSection) {
			s.KeyLengths, s.Keys = []uint32{1, 1}, []byte("ab")
			s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16)
		}),
		badFlush("more values than keys", func(_ *flushMsg, s *flushSection) { s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16) }),
		badFlush("unknown operation", func(_ *flushMsg, s *flushSection) { s.Ops[0] = 99 }),
		badFlush("operation 0", func(_ *flushMsg, s *flushSection) { s.Ops[0] = 0 }),
		badFlush("a DELETE with a value", func(_ *flushMsg, s *flushSection) { s.Ops[0] = byte(holdfastv1.FlushOp_FLUSH_OP_DELETE) }),
		badFlush("unknown state", func(_ *flushMsg, s *flushSection) { s.StateId = 77 }),
		badFlush("state 0", func(_ *flushMsg, s *flushSection) { s.StateId = 0 }),
		badFlush("a key group where none belongs", func(_ *flushMsg, s *flushSection) { s.KeyGroup = new(uint32) }),
		badFlush("seq 0", func(f *flushMsg, _ *flushSection) { f.Seq = 0 }),
		badFlush("a seq left out", func(f *flushMsg, _ *flushSection) { f.Seq = 2 }),
		badFlush("the highest seq", func(f *flushMsg, _ *flushSection) { f.Seq = 1<<64 - 1 }),
		badFlush("a token from the future", func(f *flushMsg, _ *flushSection) { f.FencingToken += 1_000_000 }),
		badFlush("a token of nobody", func(f *flushMsg, _ *flushSection) { f.FencingToken-- }),
		badFlush("a key too large", func(_ *flushMsg, s *flushSection) {
			s.Keys, s.KeyLengths = make([]byte, 4<<10+1), []uint32{4<<10 + 1}
		}, tooLarge, violation),
		badFlush("a flush too large", func(_ *flushMsg, s *flushSection) {
			for i := range 300 {
				s.Ops = append(s.Ops, 1)
				s.Keys = append(s.Keys, make([]byte, 1<<10)...)
				s.Keys[len(s.Keys)-1], s.Keys[len(s.Keys)-2] = byte(i), byte(i>>8)
				s.KeyLengths = append(s.KeyLengths, 1<<10)
				s.Values, s.ValueLengths = append(s.Values, make([]byte, 8)...), append(s.ValueLengths, 8)
			}
		}, tooLarge, violation),
		{"two Hellos", func(s *rawSlot) { s.send(up(s.job.hello())) }, v},
		{"an empty message", func(s *rawSlot) { s.send(&holdfastv1.OperatorMessage{}) }, v},
		{"an unknown message", func(s *rawSlot) {
			raw := protowire.AppendBytes(protowire.AppendTag(nil, 500, protowire.BytesType), []byte("x"))
			if err := s.SendRaw(raw); err != nil {
				s.job.t.Fatal(err)
			}
		}, v},
		{"a Get whose lengths do not add up", func(s *rawSlot) {
			s.send(s.get(func(_ *holdfastv1.Get, k *holdfastv1.KeySection) { k.KeyLengths[0] = 5 }))
		}, v},
		{"a Get of an unknown state", func(s *rawSlot) {
			s.send(s.get(func(_ *holdfastv1.Get, k *holdfastv1.KeySection) { k.StateId = 77 }))
		}, v},
		{"a Get of too many keys", func(s *rawSlot) {
			s.send(s.get(func(_ *holdfastv1.Get, k *holdfastv1.KeySection) {
				k.KeyLengths, k.Keys = slices.Repeat([]uint32{1}, 65537), []byte(strings.Repeat("k", 65537))
			}))
		}, v},
		{"a Get with a token of nobody", func(s *rawSlot) {
			s.send(s.get(func(g *holdfastv1.Get, _ *holdfastv1.KeySection) { g.FencingToken += 1_000_000 }))
		}, v},
		{"a Ready without positions", func(s *rawSlot) { s.ready(nil) }, v},
		{"a Ready with a position of another split", func(s *rawSlot) {
			s.ready([]*holdfastv1.Position{{Topic: "other", NextOffset: 1}})
		}, v},
		{"a Ready that names a split twice", func(s *rawSlot) {
			s.ready([]*holdfastv1.Position{{Topic: "t", NextOffset: 1}, {Topic: "t", NextOffset: 2}})
		}, v},
		{"a Ready with a negative position", func(s *rawSlot) { s.ready([]*holdfastv1.Position{{Topic: "t", NextOffset: -5}}) }, v},
		{"a Finished without positions", func(s *rawSlot) {
			s.send(up(&holdfastv1.Finished{FencingToken: s.assign.FencingToken, Seq: 1}))
		}, v},
	}
}

// ready begins a checkpoint and answers it with the positions given.
func (s *rawSlot) ready(positions []*holdfastv1.Position) {
	s.job.t.Helper()
	r, err := s.job.c.Trigger(s.job.id, harness.RandomName("trigger"))
	if err != nil {
		s.job.t.Fatal(err)
	}
	s.await("the barrier", func(m *holdfastv1.HostMessage) bool { return m.GetBarrier().GetCheckpointId() == r.CheckpointId })
	s.send(up(&holdfastv1.CheckpointReady{FencingToken: s.assign.FencingToken, Seq: 1, CheckpointId: r.CheckpointId, Positions: positions}))
}

// BadFrames sends every bad frame on a stream of its own: each ends that stream
// with its reason and costs nothing else, while a healthy job on the same node
// goes on (invariant 13).
func BadFrames(t *testing.T, c *harness.Cluster) {
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) },
	})
	for _, bad := range badFrames() {
		t.Run(bad.name, func(t *testing.T) {
			c := c.For(t)
			j := newRawJob(t, c, node, harness.FlusherConfig{CheckpointMs: 3_600_000})
			s := j.assigned()
			bad.send(s)
			f := harness.FailureOf(s.End(harness.Patience()))
			if !slices.Contains(bad.want, f.Reason) {
				t.Errorf("the stream ended with %s, reason %q, message %q; want %v", f.Code, f.Reason, f.Message, bad.want)
			} else if f.Message == "" {
				t.Error("the reason comes without a message that names the frame")
			}
			// What was refused left nothing behind, and another slot may go on.
			if k := harness.Completed(c.Checkpoints(j.id)); k != nil {
				t.Errorf("a checkpoint completed on a bad frame: %v", k)
			}
			next := j.assigned()
			next.send(next.flush(1, nil))
			next.awaitAck(1)
			if got := c.Counts(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState}); len(got) != 1 {
				t.Errorf("the state has %d keys after one good flush: %v", len(got), got)
			}
			mustCancel(t, c, j.id)
		})
		healthy.WaitAcked(1)
	}
	first := healthy.Attempt(0)
	checkFlusher(t, healthy)
	t.Logf("the healthy job made %d flushes meanwhile, all in attempt %d, with %d resumes", healthy.Stats().Flushes, first, healthy.Stats().Resumes)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
}

func mustCancel(t *testing.T, c *harness.Cluster, job string) {
	t.Helper()
	if err := c.Cancel(job); err != nil {
		t.Errorf("cancel %s: %v", job, err)
	}
}

// BadHellos opens streams in wrong ways.
func BadHellos(t *testing.T, c *harness.Cluster) {
	node := c.Followers()[0]
	for _, bad := range []struct {
		name   string
		change func(h *holdfastv1.Hello)
		want   failure
		code   codes.Code
	}{
		{"version 99", func(h *holdfastv1.Hello) { h.ProtocolVersion = 99 },
			failure{reason: "VERSION_NOT_SUPPORTED", outcome: "final", metadata: []string{"min", "max"}}, codes.FailedPrecondition},
		{"version 0", func(h *holdfastv1.Hello) { h.ProtocolVersion = 0 }, failure{reason: "VERSION_NOT_SUPPORTED"}, codes.FailedPrecondition},
		{"unknown job", func(h *holdfastv1.Hello) { h.JobId = "00112233445566778899aabbccddeeff" }, failure{reason: "JOB_NOT_FOUND"}, codes.NotFound},
		{"no job", func(h *holdfastv1.Hello) { h.JobId = "" }, failure{reason: "JOB_NOT_FOUND"}, codes.NotFound},
		{"no instance id", func(h *holdfastv1.Hello) { h.InstanceId = "" }, failure{reason: violation}, codes.InvalidArgument},
		{"a long instance id", func(h *holdfastv1.Hello) { h.InstanceId = strings.Repeat("x", 65) }, failure{reason: violation}, codes.InvalidArgument},
	} {
		t.Run(bad.name, func(t *testing.T) {
			j := newRawJob(t, c.For(t), node, harness.FlusherConfig{})
			s, h := j.open(), j.hello()
			bad.change(h)
			s.send(up(h))
			err := s.End(harness.Patience())
			expectFailure(t, bad.name, err, bad.want)
			if got := harness.FailureOf(err).Code; got != bad.code {
				t.Errorf("the code is %s, want %s", got, bad.code)
			}
		})
	}
	t.Run("no Hello", func(t *testing.T) {
		s := newRawJob(t, c.For(t), node, harness.FlusherConfig{}).open()
		s.send(up(&holdfastv1.Heartbeat{Sequence: 1}))
		expectFailure(t, "no Hello", s.End(harness.Patience()), failure{reason: violation})
	})
	t.Run("an attempt of nobody", func(t *testing.T) {
		j := newRawJob(t, c.For(t), node, harness.FlusherConfig{})
		s, h := j.open(), j.hello()
		h.Resume = &holdfastv1.ResumeAttempt{Attempt: 1}
		s.send(up(h))
		m := s.await("Fenced", func(m *holdfastv1.HostMessage) bool { return m.GetFenced() != nil })
		if m.GetFenced().Attempt == 1 {
			t.Errorf("an attempt that was never given out is confirmed: %v", m)
		}
		// It stands by on the same stream and gets the subtask as any other.
		s.await("an assignment", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	})
	t.Run("a job that ended", func(t *testing.T) {
		c := c.For(t)
		j := newRawJob(t, c, node, harness.FlusherConfig{})
		mustCancel(t, c, j.id)
		c.WaitCaughtUp(node)
		s := j.open()
		s.send(up(j.hello()))
		m := s.await("JobEnded", func(m *holdfastv1.HostMessage) bool { return m.GetJobEnded() != nil })
		if m.GetJobEnded().Status != holdfastv1.JobStatus_JOB_STATUS_CANCELED {
			t.Errorf("the job ended as %v", m)
		}
		if err := s.End(harness.Patience()); err != nil {
			t.Errorf("the stream of an ended job ends with %v, want OK", err)
		}
	})
}

// EarlyReady answers a checkpoint that never began: it takes its seq, since the
// host may know less than its client, and completes nothing (rule 6.3).
func EarlyReady(t *testing.T, c *harness.Cluster) {
	j := newRawJob(t, c, c.Followers()[0], harness.FlusherConfig{CheckpointMs: 3_600_000})
	s := j.assigned()
	s.send(up(&holdfastv1.CheckpointReady{
		FencingToken: s.assign.FencingToken, Seq: 1, CheckpointId: 4711, Positions: []*holdfastv1.Position{{Topic: "t", NextOffset: 9}},
	}))
	s.awaitAck(1)
	if r := c.Checkpoints(j.id); len(r.Checkpoints) != 0 {
		t.Errorf("a Ready of its own made the checkpoints %v", r)
	}
	r, err := c.Trigger(j.id, "real")
	if err != nil {
		t.Fatal(err)
	}
	s.await("the barrier", func(m *holdfastv1.HostMessage) bool { return m.GetBarrier().GetCheckpointId() == r.CheckpointId })
	s.send(up(&holdfastv1.CheckpointReady{
		FencingToken: s.assign.FencingToken, Seq: 2, CheckpointId: r.CheckpointId, Positions: []*holdfastv1.Position{{Topic: "t", NextOffset: 9}},
	}))
	if k := c.WaitCheckpoint(j.id, 0); k.Id != r.CheckpointId || k.Acks[0].Positions[0].NextOffset != 9 {
		t.Errorf("the checkpoint is %v", k)
	}
}

// WrongType flushes a number of 3 bytes: it does not fit the state, so the job
// is SUSPENDED, nothing is applied, and nothing else happens.
func WrongType(t *testing.T, c *harness.Cluster) {
	for _, op := range []holdfastv1.FlushOp{holdfastv1.FlushOp_FLUSH_OP_PUT, holdfastv1.FlushOp_FLUSH_OP_ADD} {
		j := newRawJob(t, c, c.Followers()[0], harness.FlusherConfig{CheckpointMs: 3_600_000})
		s := j.assigned()
		s.send(s.flush(1, func(_ *flushMsg, sec *flushSection) {
			sec.Ops[0], sec.Values, sec.ValueLengths = byte(op), make([]byte, 3), []uint32{3}
		}))
		m := s.await("Refused", func(m *holdfastv1.HostMessage) bool { return m.GetRefused() != nil })
		if m.GetRefused().Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE {
			t.Errorf("%s of 3 bytes is refused with %v", op, m)
		}
		c.WaitStatus(j.id, holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
		if n := len(c.State(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState})); n != 0 {
			t.Errorf("%d keys after a refused flush", n)
		}
	}
}

// OldTokens sends frames of an attempt that is over on the stream that has the
// next one: they are dropped, change nothing, and end nothing (invariant 1).
func OldTokens(t *testing.T, c *harness.Cluster) {
	j := newRawJob(t, c, c.Followers()[0], harness.FlusherConfig{CheckpointMs: 3_600_000})
	s := j.assigned()
	old := *s
	s.send(s.flush(1, nil))
	s.awaitAck(1)
	s.send(up(&holdfastv1.Failed{
		FencingToken: s.assign.FencingToken, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER,
		Error: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, Message: "on purpose"},
	}))
	s.await("the next attempt", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	if s.assign.FencingToken <= old.assign.FencingToken {
		t.Fatalf("tokens must rise: %d after %d", s.assign.FencingToken, old.assign.FencingToken)
	}
	key := func(k string) func(*flushMsg, *flushSection) {
		return func(_ *flushMsg, sec *flushSection) { sec.Keys = []byte(k) }
	}
	s.send(old.flush(2, key("z")))
	s.send(old.get(nil))
	s.send(up(&holdfastv1.BarrierPassed{FencingToken: old.assign.FencingToken, CheckpointId: 1}))
	s.send(up(&holdfastv1.Failed{FencingToken: old.assign.FencingToken, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER}))
	s.send(s.flush(1, key("b")))
	s.awaitAck(1)
	got := c.Counts(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState})
	if len(got) != 1 || got["b"] != 0 {
		t.Errorf("the state is %v; the attempt before never made a checkpoint, so only b may be there", got)
	}
	if st := c.MustDescribe(j.id).Subtasks[0]; st.Attempt != s.assign.Attempt {
		t.Errorf("attempt %d ended on frames of an older one; now it is %d", s.assign.Attempt, st.Attempt)
	}
}
