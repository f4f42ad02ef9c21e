package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// script packs commands as the fuzzer sees them: length and bytes of each.
func script(tb testing.TB, cmds ...*internalv1.Command) []byte {
	tb.Helper()
	var out []byte
	for _, c := range cmds {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
		if err != nil {
			tb.Fatal(err)
		}
		out = protowire.AppendBytes(out, b)
	}
	return out
}

// seedCommands is the life of two jobs, in commands of every kind.
func seedCommands(tb testing.TB) []*internalv1.Command {
	tb.Helper()
	spec := func(name string, parallelism uint32, interval uint64) *holdfastv1.JobSpec {
		part := holdfastv1.Partitioning_PARTITIONING_HASH
		if parallelism > 1 {
			part = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
		}
		return &holdfastv1.JobSpec{
			Name: name, Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: interval},
			StateBackend: &holdfastv1.StateBackend{MemoryMaxSize: 200},
			Operators: []*holdfastv1.Operator{
				{Uid: "source", Parallelism: parallelism, Source: &holdfastv1.SourceSpec{Connector: "datagen"}},
				{Uid: "counter", Parallelism: parallelism, MaxParallelism: 4, Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "source", Partitioning: part}},
					States: []*holdfastv1.StateDescriptor{{Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}},
			},
		}
	}
	section := func(op byte, group *uint32) []*holdfastv1.FlushSection {
		return []*holdfastv1.FlushSection{{StateId: 1, KeyGroup: group, Ops: []byte{op}, KeyLengths: []uint32{1}, Keys: []byte("k"), ValueLengths: []uint32{8}, Values: make([]byte, 8)}}
	}
	at := []*holdfastv1.Position{{Topic: "t", NextOffset: 7}}
	bodies := []proto.Message{
		&internalv1.RegisterNode{NodeId: "n", Name: "n1", ClientAddress: "h:1", Version: "1"},
		&internalv1.SubmitJob{Spec: spec("one", 1, 1000), JobId: "a", TimeMs: 1},
		&internalv1.RecordSplits{JobId: "a", OperatorUid: "source", Splits: []*holdfastv1.Split{{Topic: "t", StartOffset: proto.Int64(3)}}},
		&internalv1.Assign{JobId: "a", Targets: []*internalv1.AssignTarget{{SubtaskId: 1, NodeId: "n", SessionId: "s", InstanceId: "i", ProcessId: "p"}}},
		&internalv1.Flush{SubtaskId: 1, FencingToken: 4, Seq: 1, Sections: section(3, nil)},
		&internalv1.BeginCheckpoint{JobId: "a", RequestId: "r"},
		&internalv1.Ready{SubtaskId: 1, FencingToken: 4, Seq: 2, CheckpointId: 1, Positions: at},
		&internalv1.ResumeSubtask{SubtaskId: 1, Attempt: 4, ExpectedToken: 4, InstanceId: "i", NodeId: "m", SessionId: "s2"},
		&internalv1.SubmitJob{Spec: spec("two", 2, 0), JobId: "b", SubmissionId: "x"},
		&internalv1.RecordSplits{JobId: "b", OperatorUid: "source", Splits: []*holdfastv1.Split{{Topic: "t"}, {Topic: "t", Partition: 1}, {Topic: "t", Partition: 2}}},
		&internalv1.Assign{JobId: "b", Targets: []*internalv1.AssignTarget{{SubtaskId: 2, SessionId: "s3", InstanceId: "j"}, {SubtaskId: 3, SessionId: "s4", InstanceId: "k"}}},
		&internalv1.Flush{SubtaskId: 3, FencingToken: 11, Seq: 1, Sections: section(1, proto.Uint32(2))},
		&internalv1.FailSubtask{SubtaskId: 2, FencingToken: 11, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER, Error: &holdfastv1.Error{Message: "boom"}, TimeMs: 9, Jitter: 0.5},
		&internalv1.LoseSubtask{SubtaskId: 3, FencingToken: 11, Error: &holdfastv1.Error{Message: "gone"}, GivenUp: true},
		&internalv1.BeginCheckpoint{JobId: "a"},
		&internalv1.AbortCheckpoint{JobId: "a", CheckpointId: 2, Reason: &holdfastv1.Error{Message: "late"}},
		&internalv1.Finish{SubtaskId: 1, FencingToken: 8, Seq: 3, Positions: at},
		&internalv1.ResumeJob{JobId: "b", AcceptGap: true, RequestId: "r"},
		&internalv1.SetClusterVersion{Version: 1},
		&internalv1.MarkHash{},
		&internalv1.CancelJob{JobId: "b", RequestId: "r"},
	}
	var out []*internalv1.Command
	for _, b := range bodies {
		out = append(out, wrap(tb, b))
	}
	return out
}

// wrap puts a message into the member of Command that has its type.
func wrap(tb testing.TB, body proto.Message) *internalv1.Command {
	tb.Helper()
	c := &internalv1.Command{}
	fields := c.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Message().FullName() == body.ProtoReflect().Descriptor().FullName() {
			c.ProtoReflect().Set(fd, protoreflect.ValueOfMessage(body.ProtoReflect()))
			return c
		}
	}
	tb.Fatalf("no command has a %T", body)
	return nil
}

// FuzzCommands applies any commands to the real state machine: none makes it
// panic or halts the node unless it is of an unknown kind, what is refused
// changes nothing, and a second node that loads snapshots on the way comes to
// the same state (invariants 7, 8 and 13).
func FuzzCommands(f *testing.F) {
	all := seedCommands(f)
	for n := 2; n <= len(all); n += 3 {
		f.Add(script(f, all[:n]...), uint64(0))
		f.Add(script(f, all[:n]...), ^uint64(0))
	}
	for _, cmds := range hostSeeds(f) {
		f.Add(script(f, cmds...), uint64(0))
		f.Add(script(f, cmds...), ^uint64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, adapt uint64) {
		a, b := newFSM(), newFSM()
		for index := uint64(1); len(data) > 0 && index <= 40; index++ {
			payload, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return
			}
			data = data[n:]
			cmd := &internalv1.Command{}
			if proto.Unmarshal(payload, cmd) == nil && adapt&(1<<(index%64)) != 0 {
				payload = adapted(t, a, cmd)
			}
			before := viewHash(t, a)
			e := []Entry{{Index: index, Term: 1, Type: CommandType, Payload: payload}}
			results, err := a.ApplyBatch(e)
			_, err2 := b.ApplyBatch(e)
			if fmt.Sprint(err) != fmt.Sprint(err2) {
				t.Fatalf("one node says %v, the other %v", err, err2)
			}
			if err != nil {
				mustBeUnknown(t, payload, err)
				return
			}
			after := viewHash(t, a)
			r := results[0].(*internalv1.CommandResult)
			if r.Error != nil && after != before && !mayChange(cmd, r.Error) {
				t.Fatalf("%v was refused (%v) and changed the state", cmd, r.Error)
			}
			b = reloaded(t, b)
			if other := viewHash(t, b); other != after {
				t.Fatalf("after %v a node that loads snapshots differs", cmd)
			}
		}
		lookAtAll(a)
	})
}

// adapted gives a frame of a subtask the token and seq that are current, so
// that the fuzzer gets behind the fence.
func adapted(tb testing.TB, f *fsm, cmd *internalv1.Command) []byte {
	tb.Helper()
	current := func(subtask uint64) (v coordinator.SubtaskView) {
		f.read(func(m *coordinator.Machine, _ *keyed.Store) { v, _ = m.Subtask(subtask) })
		return v
	}
	switch c := cmd.Command.(type) {
	case *internalv1.Command_Flush:
		v := current(c.Flush.SubtaskId)
		c.Flush.FencingToken, c.Flush.Seq = v.Token, v.LastSeq+1
	case *internalv1.Command_Ready:
		v := current(c.Ready.SubtaskId)
		c.Ready.FencingToken, c.Ready.Seq = v.Token, v.LastSeq+1
		if v.Pending != nil {
			c.Ready.CheckpointId = v.Pending.ID
		}
	case *internalv1.Command_Finish:
		v := current(c.Finish.SubtaskId)
		c.Finish.FencingToken, c.Finish.Seq = v.Token, v.LastSeq+1
	case *internalv1.Command_Assign:
		for _, t := range c.Assign.Targets {
			t.ExpectedToken = current(t.SubtaskId).Token
		}
	case *internalv1.Command_ResumeSubtask:
		v := current(c.ResumeSubtask.SubtaskId)
		c.ResumeSubtask.Attempt, c.ResumeSubtask.ExpectedToken, c.ResumeSubtask.InstanceId = v.Attempt, v.Token, v.InstanceID
	case *internalv1.Command_AckCheckpoint:
		v := current(c.AckCheckpoint.SubtaskId)
		c.AckCheckpoint.FencingToken = v.Token
		if v.Pending != nil {
			c.AckCheckpoint.CheckpointId = v.Pending.ID
		}
	case *internalv1.Command_AckPart:
		v := current(c.AckPart.SubtaskId)
		c.AckPart.FencingToken = v.Token
		if v.Pending != nil {
			c.AckPart.CheckpointId = v.Pending.ID
		}
	case *internalv1.Command_LoadState:
		v := current(c.LoadState.SubtaskId)
		c.LoadState.FencingToken, c.LoadState.Chunk = v.Token, v.LoadedChunks+1
	case *internalv1.Command_FailSubtask:
		c.FailSubtask.FencingToken = current(c.FailSubtask.SubtaskId).Token
	case *internalv1.Command_LoseSubtask:
		c.LoseSubtask.FencingToken = current(c.LoseSubtask.SubtaskId).Token
	}
	b, err := proto.Marshal(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// mustBeUnknown fails unless an entry that halts the node is one that no node
// of this version proposes: an unknown one, or a cluster version above its own.
func mustBeUnknown(t *testing.T, payload []byte, err error) {
	t.Helper()
	cmd := &internalv1.Command{}
	if proto.Unmarshal(payload, cmd) == nil && cmd.Command != nil && cmd.GetSetClusterVersion() == nil {
		t.Fatalf("%v halts the node: %v", cmd, err)
	}
}

// mayChange names the refusals that are decisions: they suspend or end the job.
func mayChange(cmd *internalv1.Command, e *holdfastv1.Error) bool {
	switch e.Reason {
	case holdfastv1.ErrorReason_ERROR_REASON_FENCED, holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP,
		holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED, holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST,
		holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE:
		return false
	}
	return cmd.GetFlush() != nil || cmd.GetLoadState() != nil || cmd.GetRecordSplits() != nil || cmd.GetAssign() != nil
}

func viewHash(tb testing.TB, f *fsm) string {
	tb.Helper()
	v, err := f.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer v.Release()
	h, err := v.(*fsmView).hash()
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// reloaded is a state machine that loaded the snapshot of another one.
func reloaded(tb testing.TB, f *fsm) *fsm {
	tb.Helper()
	v, err := f.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer v.Release()
	var buf bytes.Buffer
	if err := v.Write(&buf); err != nil {
		tb.Fatal(err)
	}
	out := newFSM()
	if err := out.Restore(&buf); err != nil {
		tb.Fatalf("a node cannot load its own snapshot: %v", err)
	}
	return out
}

// lookAtAll makes every view that tools and streams ask for.
func lookAtAll(f *fsm) {
	f.read(func(m *coordinator.Machine, _ *keyed.Store) {
		for _, s := range m.Summaries() {
			m.Describe(s.JobId)
			m.Checkpoints(s.JobId)
			m.Undiscovered(s.JobId)
			m.HomeElsewhere(s.JobId, "n", []string{"source", "counter"})
			m.SnapshotOf(s.JobId, 1)
			m.Orphans(s.JobId, []string{"shared/1-1-1-a"})
		}
		m.Deletions()
		m.Exports()
		for id := range uint64(10) {
			m.Subtask(id)
			m.RestorePointOf(id)
			m.BaseOf(id)
			m.SpaceOf(id)
			m.AssignFrame(id)
		}
	})
}

// FuzzRestore loads any snapshot of the state machine: a good one survives a
// round trip, any other is an error. The checksum at its end is made right, or
// the fuzzer would get no further.
func FuzzRestore(f *testing.F) {
	all := seedCommands(f)
	for _, n := range []int{0, 3, 7, len(all)} {
		m := newFSM()
		for i, c := range all[:n] {
			b, err := proto.Marshal(c)
			if err != nil {
				f.Fatal(err)
			}
			if _, err := m.ApplyBatch([]Entry{{Index: uint64(i + 1), Type: CommandType, Payload: b}}); err != nil {
				f.Fatal(err)
			}
		}
		v, err := m.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		var buf bytes.Buffer
		if err := v.Write(&buf); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range [][]byte{data, withKeyedSum(data)} {
			a := newFSM()
			if a.Restore(bytes.NewReader(b)) != nil {
				continue
			}
			if again := reloaded(t, a); viewHash(t, again) != viewHash(t, a) {
				t.Fatal("accepted, but does not survive a round trip")
			}
			lookAtAll(a)
		}
	})
}

// withKeyedSum rewrites the last record of the keyed state's stream: type, the
// length 8, and the hash of the stream before it.
func withKeyedSum(data []byte) []byte {
	const end = 1 + 4 + 8
	start := bytes.Index(data, []byte("HFKEYED\x00")) - 5
	if start < 0 || len(data)-end < start {
		return data
	}
	b := bytes.Clone(data[:len(data)-end])
	sum := xxhash.Sum64(b[start:])
	b = append(b, 7, 8, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(b, sum)
}

// FuzzIdentity reads any node.json: an identity that is written again is the
// same, what names no node is an error.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"node_id":"ab","cluster_id":"c","initial":[{"id":"ab","name":"n1","address":"h:1"}],"store_made":true}`))
	f.Add([]byte(`{"node_id":""}`))
	f.Add([]byte("{\"node_id\":\"\xff\"}"))
	f.Add([]byte(`[]`))
	f.Add([]byte(nil))
	d := &dataDir{path: f.TempDir()}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(d.file(identityFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := d.loadIdentity()
		if err != nil {
			return
		}
		if rec.NodeID == "" {
			t.Fatalf("%q gives a node without id", data)
		}
		if err := d.saveIdentity(rec); err != nil {
			t.Fatal(err)
		}
		again, err := d.loadIdentity()
		if err != nil || fmt.Sprint(again) != fmt.Sprint(rec) {
			t.Fatalf("%q: %+v is read again as %+v, %v", data, rec, again, err)
		}
	})
}
