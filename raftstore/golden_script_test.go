package raftstore

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// goldenLog writes a golden log while it applies it.
type goldenLog struct {
	t        testing.TB
	f        *fsm
	index    uint64
	text     strings.Builder
	commands []*internalv1.Command
}

// add applies a command and writes its entry. Refusals are results like others.
func (g *goldenLog) add(c *internalv1.Command) *internalv1.CommandResult {
	g.t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		g.t.Fatal(err)
	}
	envelope, err := encodeEnvelope(CommandType, b)
	if err != nil {
		g.t.Fatal(err)
	}
	g.index++
	g.commands = append(g.commands, c)
	fmt.Fprintf(&g.text, "%d %s %x\n", g.index, commandName(c), envelope)
	out, err := g.f.ApplyBatch([]Entry{{Index: g.index, Term: 1, Type: CommandType, Payload: b}})
	if err != nil {
		g.t.Fatal(err)
	}
	return out[0].(*internalv1.CommandResult)
}

// must is add of a command that is not refused.
func (g *goldenLog) must(c *internalv1.Command) *internalv1.CommandResult {
	g.t.Helper()
	r := g.add(c)
	if r.Error != nil {
		g.t.Fatalf("%v: %v", c, r.Error)
	}
	return r
}

const goldenTime = 1_700_000_000_000

// script goes through everything that a log can hold, refusals too: two jobs that
// run on in a checkpointed and an unfinished state, and three that have ended.
func (g *goldenLog) script() {
	for i, name := range []string{"n1", "n2", "n3"} {
		g.must(&internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: &internalv1.RegisterNode{
			NodeId: strings.Repeat(fmt.Sprint(i+1), 32), Name: name, ClientAddress: name + ":7070", Version: "0.1.0",
			MinClusterVersion: 1, MaxClusterVersion: coordinator.MaxVersion,
			Incarnation: "first of " + name, StateBackends: []string{"filesystem", "memory", "rocksdb"}, TimeMs: goldenTime,
		}}})
	}
	g.must(&internalv1.Command{Command: &internalv1.Command_ForgetNode{ForgetNode: &internalv1.ForgetNode{NodeId: strings.Repeat("3", 32)}}})
	g.must(&internalv1.Command{Command: &internalv1.Command_SetClusterVersion{SetClusterVersion: &internalv1.SetClusterVersion{Version: coordinator.MaxVersion}}})
	g.checkpointed()
	g.withoutCheckpoints()
	g.failing()
	g.finishing()
	g.onHosts()
	g.atHome()
	g.restored()
	g.keeping()
	g.must(&internalv1.Command{Command: &internalv1.Command_MarkHash{MarkHash: &internalv1.MarkHash{}}})
}

// checkpointed is a job with two completed checkpoints, an aborted and a pending
// one, a resumed and a lost attempt.
func (g *goldenLog) checkpointed() {
	st := g.start("checkpointed", 10_000)
	g.flush(st, 1, "one", "two", "three")
	g.flush(st, 1, "again") // a duplicate
	g.flush(st, 9, "early") // a gap
	g.ready(st, 2, g.begin("checkpointed"), 3)
	g.flush(st, 3, "four")
	g.must(&internalv1.Command{Command: &internalv1.Command_AbortCheckpoint{AbortCheckpoint: &internalv1.AbortCheckpoint{
		JobId: "checkpointed", CheckpointId: g.begin("checkpointed"), TimeMs: goldenTime,
		Reason: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT, "expired"),
	}}})
	old := st.token
	st.token = g.must(&internalv1.Command{Command: &internalv1.Command_ResumeSubtask{ResumeSubtask: &internalv1.ResumeSubtask{
		SubtaskId: st.id, Attempt: st.attempt, ExpectedToken: st.token, InstanceId: "instance", NodeId: strings.Repeat("2", 32), SessionId: "session 2",
	}}}).FencingToken
	g.flush(goldenSubtask{id: st.id, token: old}, 4, "fenced")
	g.ready(st, 4, g.begin("checkpointed"), 5)
	g.must(&internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: &internalv1.LoseSubtask{
		SubtaskId: st.id, FencingToken: st.token, TimeMs: goldenTime, Error: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, "gone"),
	}}})
	st = g.assign("checkpointed", st)
	g.flush(st, 1, "five")
	g.begin("checkpointed")
}

// withoutCheckpoints is a job whose state is at its newest flush.
func (g *goldenLog) withoutCheckpoints() {
	st := g.start("plain", 0)
	g.flush(st, 1, "one", "two")
	g.flush(st, 2, "two", "three")
}

// failing is a job that restarts, is suspended by an offset that is gone, goes on
// and is canceled.
func (g *goldenLog) failing() {
	st := g.start("failing", 10_000)
	g.flush(st, 1, "one")
	g.fail(st, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE)
	st = g.assign("failing", st)
	g.fail(st, holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE)
	g.must(&internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{
		JobId: "failing", RequestId: "go on", AcceptGap: true, TimeMs: goldenTime,
	}}})
	for range 2 { // the second is answered from the kept result
		g.must(&internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{
			JobId: "failing", RequestId: "enough", TimeMs: goldenTime,
		}}})
	}
}

// finishing is a bounded job to its end.
func (g *goldenLog) finishing() {
	st := g.start("finishing", 0)
	g.flush(st, 1, "one")
	g.must(&internalv1.Command{Command: &internalv1.Command_Finish{Finish: &internalv1.Finish{
		SubtaskId: st.id, FencingToken: st.token, Seq: 2, TimeMs: goldenTime, Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: 9, LeaderEpoch: -1}},
	}}})
}

type goldenSubtask struct{ id, token, attempt uint64 }

// start submits a job with one subtask and assigns it.
func (g *goldenLog) start(name string, interval uint64) goldenSubtask {
	spec := goldenSpec(name, interval)
	g.must(goldenSubmit(spec, nil))
	return g.discover(name, interval > 0)
}

func goldenSubmit(spec *holdfastv1.JobSpec, restore *internalv1.Restore) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_SubmitJob{SubmitJob: &internalv1.SubmitJob{
		Spec: spec, SubmissionId: "golden", JobId: spec.Name, TimeMs: goldenTime, Restore: restore,
	}}}
}

func goldenSpec(name string, interval uint64) *holdfastv1.JobSpec {
	spec := &holdfastv1.JobSpec{
		Name: name,
		Operators: []*holdfastv1.Operator{
			{Uid: "source", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "kafka", Topics: []string{"in"}}},
			{Uid: "counter", Parallelism: 1,
				Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "source", Partitioning: holdfastv1.Partitioning_PARTITIONING_HASH}},
				States: []*holdfastv1.StateDescriptor{{Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}},
		},
	}
	if interval > 0 {
		spec.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: interval, NumRetained: 2, TolerableFailedCheckpoints: 3}
	}
	return spec
}

// discover records the splits of a job and assigns its subtask.
func (g *goldenLog) discover(name string, offsets bool) goldenSubtask {
	split := &holdfastv1.Split{Topic: "in"}
	if offsets {
		split.StartOffset = proto.Int64(0)
	}
	g.must(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
		JobId: name, OperatorUid: "source", Splits: []*holdfastv1.Split{split}, TimeMs: goldenTime,
	}}})
	var id uint64
	for id = 1; ; id++ { // the newest subtask is this job's
		if _, ok := g.f.machine.Subtask(id + 1); !ok {
			break
		}
	}
	return g.assign(name, goldenSubtask{id: id})
}

func (g *goldenLog) assign(job string, st goldenSubtask) goldenSubtask {
	v, _ := g.f.machine.Subtask(st.id)
	g.must(&internalv1.Command{Command: &internalv1.Command_Assign{Assign: &internalv1.Assign{
		JobId: job, TimeMs: goldenTime, Targets: []*internalv1.AssignTarget{{
			SubtaskId: st.id, ExpectedToken: v.Token, NodeId: strings.Repeat("1", 32), Incarnation: "first of n1", SessionId: "session " + job, InstanceId: "instance", ProcessId: "process",
		}},
	}}})
	v, _ = g.f.machine.Subtask(st.id)
	return goldenSubtask{id: st.id, token: v.Token, attempt: v.Attempt}
}

// flush has one operation of each kind; what becomes of it is the log's to say.
func (g *goldenLog) flush(st goldenSubtask, seq uint64, keys ...string) {
	s := &holdfastv1.FlushSection{StateId: 1}
	for i, op := range []byte{keyed.OpPut, keyed.OpAdd, keyed.OpMin, keyed.OpMax, keyed.OpDelete} {
		key := keys[i%len(keys)]
		s.Ops, s.Keys, s.KeyLengths = append(s.Ops, op), append(s.Keys, key...), append(s.KeyLengths, uint32(len(key)))
		if op == keyed.OpDelete {
			s.ValueLengths = append(s.ValueLengths, 0)
			continue
		}
		s.ValueLengths = append(s.ValueLengths, 8)
		s.Values = binary.LittleEndian.AppendUint64(s.Values, seq*10+uint64(i))
	}
	g.add(&internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
		SubtaskId: st.id, FencingToken: st.token, Seq: seq, Sections: []*holdfastv1.FlushSection{s},
	}}})
}

func (g *goldenLog) begin(job string) uint64 {
	return g.must(&internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{
		JobId: job, Trigger: holdfastv1.CheckpointTrigger_CHECKPOINT_TRIGGER_MANUAL, TimeMs: goldenTime, RequestId: fmt.Sprint("trigger ", g.index),
	}}}).CheckpointId
}

func (g *goldenLog) ready(st goldenSubtask, seq, checkpoint uint64, next int64) {
	g.must(&internalv1.Command{Command: &internalv1.Command_Ready{Ready: &internalv1.Ready{
		SubtaskId: st.id, FencingToken: st.token, Seq: seq, CheckpointId: checkpoint, TimeMs: goldenTime,
		Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: next, LeaderEpoch: -1}},
	}}})
}

func (g *goldenLog) fail(st goldenSubtask, reason holdfastv1.ErrorReason) {
	g.must(&internalv1.Command{Command: &internalv1.Command_FailSubtask{FailSubtask: &internalv1.FailSubtask{
		SubtaskId: st.id, FencingToken: st.token, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER, TimeMs: goldenTime, Jitter: 0.5,
		Error: coordinator.Failure(reason, "boom", "topic", "in", "partition", "0", "offset", "5", "first_offset", "9"),
	}}})
}
