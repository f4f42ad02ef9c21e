package scenario

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/version"
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
	name          string
	send          func(s *rawSlot)
	want          failure
	coPartitioned bool
}

// violates is what a frame that breaks a rule of docs/protocol.md is told.
func violates(rule, text string) failure {
	return failure{
		code: codes.InvalidArgument, reason: violation, outcome: "final",
		message: text + "; see rule " + rule + " of docs/protocol.md", metadata: []string{"rule"},
	}
}

// exceeds is what a frame above a limit is told.
func exceeds(text string) failure {
	return failure{code: codes.ResourceExhausted, reason: tooLarge, outcome: "final", message: text}
}

func badFlush(name string, want failure, change func(f *flushMsg, sec *flushSection)) badFrame {
	return badFrame{name: name, send: func(s *rawSlot) { s.send(s.flush(1, change)) }, want: want}
}

func badGet(name string, want failure, change func(g *holdfastv1.Get, k *holdfastv1.KeySection)) badFrame {
	return badFrame{name: name, send: func(s *rawSlot) { s.send(s.get(change)) }, want: want}
}

func badReady(name, text string, positions ...*holdfastv1.Position) badFrame {
	return badFrame{name: name, send: func(s *rawSlot) { s.ready(positions) }, want: violates("6.2", text)}
}

func badFrames() []badFrame {
	return slices.Concat(badColumns(), badPlaces(), badSizes(), badMessages(), []badFrame{
		badReady("a Ready without positions", "CheckpointReady: positions of 0 splits, and the subtask has 1; every one is needed"),
		badReady("a Ready with a position of another split", "CheckpointReady: a position of other/0, which is no split of the subtask",
			&holdfastv1.Position{Topic: "other", NextOffset: 1}),
		badReady("a Ready that names a split twice", "CheckpointReady: two positions of t/0",
			&holdfastv1.Position{Topic: "t", NextOffset: 1}, &holdfastv1.Position{Topic: "t", NextOffset: 2}),
		badReady("a Ready with a negative position", "CheckpointReady: the position -5 of t/0 is no offset", &holdfastv1.Position{Topic: "t", NextOffset: -5}),
		{name: "a Finished without positions", send: func(s *rawSlot) {
			s.send(up(&holdfastv1.Finished{FencingToken: s.assign.FencingToken, Seq: 1}))
		}, want: violates("6.2", "Finished: positions of 0 splits, and the subtask has 1; every one is needed")},
		{name: "a Failed without a reason", send: func(s *rawSlot) {
			s.send(up(&holdfastv1.Failed{FencingToken: s.assign.FencingToken}))
		}, want: violates("8.1", "Failed: error and failure_class must be set")},
	})
}

// badColumns are sections that do not add up.
func badColumns() []badFrame {
	const at = "Flush seq 1, section 0: "
	return []badFrame{
		badFlush("key lengths above the bytes", violates("5.1", at+"the key lengths add up to 2, and there are 1 bytes"), func(_ *flushMsg, s *flushSection) { s.KeyLengths[0] = 2 }),
		badFlush("key lengths below the bytes", violates("5.1", at+"the key lengths add up to 0, and there are 1 bytes"), func(_ *flushMsg, s *flushSection) { s.KeyLengths[0] = 0 }),
		badFlush("key lengths that overflow", exceeds(at+"key 0 has 2147483648 bytes, at most 4096 are allowed; use shorter ones"), func(_ *flushMsg, s *flushSection) {
			s.Ops, s.KeyLengths = []byte{1, 1}, []uint32{1 << 31, 1<<31 + 1}
			s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16)
		}),
		badFlush("value lengths above the bytes", violates("5.1", at+"the value lengths add up to 9, and there are 8 bytes"), func(_ *flushMsg, s *flushSection) { s.ValueLengths[0] = 9 }),
		badFlush("value lengths below the bytes", violates("5.1", at+"the value lengths add up to 7, and there are 8 bytes"), func(_ *flushMsg, s *flushSection) { s.ValueLengths[0] = 7 }),
		badFlush("more operations than keys", violates("5.1", at+"2 ops, 1 keys and 1 values; each op has one of each"), func(_ *flushMsg, s *flushSection) { s.Ops = []byte{1, 1} }),
		badFlush("more keys than operations", violates("5.1", at+"1 ops, 2 keys and 2 values; each op has one of each"), func(_ *flushMsg, s *flushSection) {
			s.KeyLengths, s.Keys = []uint32{1, 1}, []byte("ab")
			s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16)
		}),
		badFlush("more values than keys", violates("5.1", at+"1 ops, 1 keys and 2 values; each op has one of each"), func(_ *flushMsg, s *flushSection) { s.ValueLengths, s.Values = []uint32{8, 8}, make([]byte, 16) }),
		badFlush("unknown operation", violates("5.6", at+"operation 0 has the unknown op 99"), func(_ *flushMsg, s *flushSection) { s.Ops[0] = 99 }),
		badFlush("operation 0", violates("5.6", at+"operation 0 has the unknown op 0"), func(_ *flushMsg, s *flushSection) { s.Ops[0] = 0 }),
		badFlush("a DELETE with a value", violates("5.6", at+"operation 0 is a DELETE and has a value of 8 bytes"), func(_ *flushMsg, s *flushSection) { s.Ops[0] = byte(holdfastv1.FlushOp_FLUSH_OP_DELETE) }),
		badGet("a Get whose lengths do not add up", violates("5.1", "Get 1, section 0: the key lengths add up to 5, and there are 1 bytes"), func(_ *holdfastv1.Get, k *holdfastv1.KeySection) { k.KeyLengths[0] = 5 }),
	}
}

// badPlaces are frames that name a state, a key group, a seq or a token that
// they must not.
func badPlaces() []badFrame {
	const at = "Flush seq 1, section 0: "
	group := func(g *uint32) func(*flushMsg, *flushSection) {
		return func(_ *flushMsg, s *flushSection) { s.KeyGroup = g }
	}
	coPartitioned := func(f badFrame) badFrame {
		f.coPartitioned = true
		return f
	}
	return []badFrame{
		badFlush("unknown state", violates("4.2", at+"unknown state id 77; Assign gave #"), func(_ *flushMsg, s *flushSection) { s.StateId = 77 }),
		badFlush("state 0", violates("4.2", at+"unknown state id 0; Assign gave #"), func(_ *flushMsg, s *flushSection) { s.StateId = 0 }),
		badGet("a Get of an unknown state", violates("4.2", "Get 1, section 0: unknown state id 77; Assign gave #"), func(_ *holdfastv1.Get, k *holdfastv1.KeySection) { k.StateId = 77 }),
		badFlush("a key group where none belongs", violates("4.5", at+"key_group is set, and the subtask is not co-partitioned"), group(new(uint32))),
		coPartitioned(badFlush("no key group where one belongs", violates("4.5", at+"key_group is missing, and the subtask is co-partitioned"), group(nil))),
		coPartitioned(badFlush("a key group of another subtask", violates("4.5", at+"key group 99 is not of this subtask, which has [#, #)"), group(proto.Uint32(99)))),
		badFlush("seq 0", violates("5.4", "Flush: seq 0, and 1 is next on this stream"), func(f *flushMsg, _ *flushSection) { f.Seq = 0 }),
		badFlush("a seq left out", violates("5.4", "Flush: seq 2, and 1 is next on this stream"), func(f *flushMsg, _ *flushSection) { f.Seq = 2 }),
		badFlush("the highest seq", violates("5.4", "Flush: seq 18446744073709551615, and 1 is next on this stream"), func(f *flushMsg, _ *flushSection) { f.Seq = 1<<64 - 1 }),
		badFlush("a token from the future", violates("3.8", "Flush: this stream was never given its fencing token, #"), func(f *flushMsg, _ *flushSection) { f.FencingToken += 1_000_000 }),
		badFlush("a token too old", violates("3.8", "Flush: this stream was never given its fencing token, #"), func(f *flushMsg, _ *flushSection) { f.FencingToken-- }),
		badGet("a Get with a token of nobody", violates("3.8", "Get: this stream was never given its fencing token, #"), func(g *holdfastv1.Get, _ *holdfastv1.KeySection) { g.FencingToken += 1_000_000 }),
		{name: "a BarrierPassed with a token of nobody", send: func(s *rawSlot) {
			s.send(up(&holdfastv1.BarrierPassed{FencingToken: 1 << 40, CheckpointId: 1}))
		}, want: violates("3.8", "BarrierPassed: this stream was never given its fencing token, 1099511627776")},
	}
}

// badSizes are frames above a limit of Welcome.
func badSizes() []badFrame {
	const at = "Flush seq 1, section 0: "
	puts := func(n, key, value int) func(*flushMsg, *flushSection) {
		return func(_ *flushMsg, s *flushSection) {
			s.Ops, s.Keys, s.KeyLengths, s.Values, s.ValueLengths = nil, nil, nil, nil, nil
			for i := range n {
				k := make([]byte, key)
				k[key-1], k[key-2] = byte(i), byte(i>>8)
				s.Ops, s.Keys, s.KeyLengths = append(s.Ops, 1), append(s.Keys, k...), append(s.KeyLengths, uint32(key))
				s.Values, s.ValueLengths = append(s.Values, make([]byte, value)...), append(s.ValueLengths, uint32(value))
			}
		}
	}
	return []badFrame{
		badFlush("a key of 5 KiB", exceeds(at+"key 0 has 5120 bytes, at most 4096 are allowed; use shorter ones"), puts(1, 5<<10, 8)),
		badFlush("a value of 2 MiB", exceeds(at+"value 0 has 2097152 bytes, at most 131072 are allowed; use shorter ones"), puts(1, 8, 2<<20)),
		badFlush("a flush of 256 KiB", exceeds("Flush seq 1 has 263652 bytes, at most 196608 are allowed; send several flushes"), puts(254, 1<<10, 8)),
		badFlush("a flush of 3 MiB", exceeds("Flush seq 1 has 3114000 bytes, at most 196608 are allowed; send several flushes"), puts(3000, 1<<10, 8)),
		badFlush("a message of 5 MiB", exceeds("a message OperatorMessage has # bytes, at most 4194304 are allowed; send several"), puts(5000, 1<<10, 8)),
		badGet("a Get of 100,000 keys", violates("5.2", "Get 1 asks for 100000 keys, at most 65536 are allowed; send several Gets"), func(_ *holdfastv1.Get, k *holdfastv1.KeySection) {
			k.KeyLengths, k.Keys = slices.Repeat([]uint32{1}, 100_000), []byte(strings.Repeat("k", 100_000))
		}),
		badGet("a Get of 5,000 sections", violates("5.2", "Get 1 has 5000 sections, at most 4096 are allowed"), func(g *holdfastv1.Get, k *holdfastv1.KeySection) {
			g.Sections = slices.Repeat([]*holdfastv1.KeySection{k}, 5000)
		}),
		// The transport refuses it before anybody could read what it is.
		{name: "a message of 9 MiB", send: func(s *rawSlot) { s.sendRaw(make([]byte, 9<<20)) }, want: failure{
			code: codes.ResourceExhausted, message: "grpc: received message larger than max (9437184 vs. 8388608)",
		}},
	}
}

// badMessages are no frames of the protocol at all.
func badMessages() []badFrame {
	unknown := violates("3.7", "a message of a kind that this node (version "+version.Version+") does not know")
	return []badFrame{
		{name: "two Hellos", send: func(s *rawSlot) { s.send(up(s.job.hello())) }, want: violates("3.1", "Hello: only the first message of a stream may be one")},
		{name: "an empty message", send: func(s *rawSlot) { s.send(&holdfastv1.OperatorMessage{}) }, want: unknown},
		{name: "an unknown message", send: func(s *rawSlot) {
			s.sendRaw(protowire.AppendBytes(protowire.AppendTag(nil, 500, protowire.BytesType), []byte("x")))
		}, want: unknown},
		{name: "bytes that are no protobuf", send: func(s *rawSlot) { s.sendRaw([]byte("GET / HTTP/1.1")) }, want: violates("3.7",
			"14 bytes are no message OperatorMessage; the client was generated from another proto file, or something is between it and this node")},
		{name: "a message cut short", send: func(s *rawSlot) {
			b, _ := proto.Marshal(s.flush(1, nil)) // what a test made can be marshalled
			s.sendRaw(b[:len(b)-1])
		}, want: violates("3.7", "# bytes are no message OperatorMessage; the client was generated from another proto file, or something is between it and this node")},
	}
}

func (s *rawSlot) sendRaw(b []byte) {
	s.job.t.Helper()
	if err := s.SendRaw(b); err != nil && !errors.Is(err, io.EOF) {
		s.job.t.Fatal(err)
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
			j := newRawJob(t, c, node, harness.FlusherConfig{CheckpointMs: 3_600_000, CoPartitioned: bad.coPartitioned})
			s := j.assigned()
			bad.send(s)
			expectFailure(t, bad.name, s.End(harness.Patience()), bad.want)
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

func notFound(reason, text string) failure {
	return failure{code: codes.NotFound, reason: reason, outcome: "final", message: text}
}

func oldVersion(v string) failure {
	return failure{
		code: codes.FailedPrecondition, reason: "VERSION_NOT_SUPPORTED", outcome: "final", metadata: []string{"min", "max"},
		message: "Hello: protocol version " + v + " is not supported; this node (version " + version.Version + ") speaks 1 to 1: use a client for one of these, or a node of another version",
	}
}

// BadHellos opens streams in wrong ways.
func BadHellos(t *testing.T, c *harness.Cluster) {
	node := c.Followers()[0]
	for _, bad := range []struct {
		name   string
		change func(h *holdfastv1.Hello)
		want   failure
	}{
		{"version 99", func(h *holdfastv1.Hello) { h.ProtocolVersion = 99 }, oldVersion("99")},
		{"version 0", func(h *holdfastv1.Hello) { h.ProtocolVersion = 0 }, oldVersion("0")},
		{"unknown job", func(h *holdfastv1.Hello) { h.JobId = "00112233445566778899aabbccddeeff" },
			notFound("JOB_NOT_FOUND", "no job \"00112233445566778899aabbccddeeff\"; `holdfast list` shows the jobs")},
		{"no job", func(h *holdfastv1.Hello) { h.JobId = "" }, notFound("JOB_NOT_FOUND", "no job \"\"; `holdfast list` shows the jobs")},
		{"a job id of 1 MiB", func(h *holdfastv1.Hello) { h.JobId = strings.Repeat("x", 1<<20) },
			notFound("JOB_NOT_FOUND", "no job \""+strings.Repeat("x", 128)+"\"...; `holdfast list` shows the jobs")},
		{"no instance id", func(h *holdfastv1.Hello) { h.InstanceId = "" },
			violates("3.1", "Hello: instance_id has 0 characters and process_id #; 1 to 64 and 0 to 64 are allowed")},
		{"a long instance id", func(h *holdfastv1.Hello) { h.InstanceId = strings.Repeat("x", 65) },
			violates("3.1", "Hello: instance_id has 65 characters and process_id #; 1 to 64 and 0 to 64 are allowed")},
		{"a long process id", func(h *holdfastv1.Hello) { h.ProcessId = strings.Repeat("x", 65) },
			violates("3.1", "Hello: instance_id has # characters and process_id 65; 1 to 64 and 0 to 64 are allowed")},
		{"257 operators", func(h *holdfastv1.Hello) { h.OperatorUids = slices.Repeat([]string{"a"}, 257) },
			violates("3.1", "Hello: 257 operator uids, at most 256 are allowed")},
		{"a long operator uid", func(h *holdfastv1.Hello) { h.OperatorUids = []string{strings.Repeat("x", 129)} },
			violates("3.1", "Hello: an operator uid has 129 characters, at most 128 are allowed")},
	} {
		t.Run(bad.name, func(t *testing.T) {
			j := newRawJob(t, c.For(t), node, harness.FlusherConfig{})
			s, h := j.open(), j.hello()
			bad.change(h)
			s.send(up(h))
			expectFailure(t, bad.name, s.End(harness.Patience()), bad.want)
		})
	}
	t.Run("no Hello", func(t *testing.T) {
		s := newRawJob(t, c.For(t), node, harness.FlusherConfig{}).open()
		s.send(up(&holdfastv1.Heartbeat{Sequence: 1}))
		expectFailure(t, "no Hello", s.End(harness.Patience()), violates("3.1", "the first message of a stream must be Hello"))
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

// ForgottenTokens gives one stream more attempts than a host remembers tokens of. A
// frame of the oldest one that is remembered is dropped; one of an attempt before
// ends the stream with a reason. Neither changes anything (invariant 1).
func ForgottenTokens(t *testing.T, c *harness.Cluster) {
	const remembered = 64
	j := newEagerJob(t, c, c.Followers()[0])
	s := j.assigned()
	var given []rawSlot
	for range remembered + 1 {
		given = append(given, *s)
		s.send(up(&holdfastv1.Failed{
			FencingToken: s.assign.FencingToken, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER,
			Error: &holdfastv1.Error{Reason: holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, Message: "on purpose"},
		}))
		s.await("the next attempt", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	}
	// The stream was given 66 tokens: 0 and 1 are forgotten.
	s.send(given[2].flush(1, nil))
	s.send(s.flush(1, func(_ *flushMsg, sec *flushSection) { sec.Keys = []byte("b") }))
	s.awaitAck(1)
	s.send(given[1].flush(1, nil))
	expectFailure(t, "a token that is not remembered", s.End(harness.Patience()),
		violates("3.8", "Flush: only the 64 newest fencing tokens of a stream are remembered, and its own is older, #"))
	got := c.Counts(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState})
	if len(got) != 1 || got["b"] != 0 {
		t.Errorf("the state is %v; only b was flushed with a current token", got)
	}
	mustCancel(t, c, j.id)
}

// ReadyTwice sends a second CheckpointReady for a checkpoint of a job whose state is
// on its host: two cuts must never write the files of one.
func ReadyTwice(t *testing.T, c *harness.Cluster) {
	j := &rawJob{t: t, c: c, node: c.Followers()[0], config: harness.FlusherConfig{Job: harness.RandomName("twice"), Slots: 1, CheckpointMs: 100}}
	spec := j.config.Spec()
	spec.StateBackend = &holdfastv1.StateBackend{Name: "filesystem"}
	spec.Checkpoint.Directory = c.CheckpointDir("twice")
	j.id = c.MustSubmit(spec)
	s := j.assigned()
	b := s.await("a barrier", func(m *holdfastv1.HostMessage) bool { return m.GetBarrier() != nil }).GetBarrier()
	ready := func(seq uint64) *holdfastv1.OperatorMessage {
		return up(&holdfastv1.CheckpointReady{
			FencingToken: s.assign.FencingToken, Seq: seq, CheckpointId: b.CheckpointId, Positions: []*holdfastv1.Position{{Topic: "t", LeaderEpoch: -1}},
		})
	}
	s.send(ready(1))
	s.awaitAck(1)
	s.send(ready(2))
	expectFailure(t, "a second CheckpointReady", s.End(harness.Patience()),
		violates("6.3", "CheckpointReady for checkpoint #, and there was one for #; there is one for each, in their order"))
	mustCancel(t, c, j.id)
}

// newEagerJob is newRawJob with a job that restarts at once and without end.
func newEagerJob(t *testing.T, c *harness.Cluster, node int) *rawJob {
	t.Helper()
	j := &rawJob{t: t, c: c, node: node, config: harness.FlusherConfig{Job: harness.RandomName("eager"), Slots: 1, CheckpointMs: 3_600_000}}
	spec := j.config.Spec()
	spec.RestartStrategy = &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_FixedDelay{
		FixedDelay: &holdfastv1.FixedDelay{Attempts: 1000, DelayMs: 1},
	}}
	j.id = c.MustSubmit(spec)
	return j
}
