package coordinator

import (
	"fmt"
	"maps"
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fakeState is a keyed state that counts: each operation adds one to its key.
// A flush that names the key "too-large" is refused.
type fakeState struct {
	live     map[uint64]map[string]int
	versions map[uint64]map[uint64]map[string]int
}

func newFakeState() *fakeState {
	return &fakeState{live: map[uint64]map[string]int{}, versions: map[uint64]map[uint64]map[string]int{}}
}

func (f *fakeState) Create(id uint64, _ Space) {
	f.live[id] = map[string]int{}
	f.versions[id] = map[uint64]map[string]int{}
}

func (f *fakeState) Drop(id uint64) {
	delete(f.live, id)
	delete(f.versions, id)
}

func (f *fakeState) Apply(id uint64, sections []*holdfastv1.FlushSection, _ int64) *holdfastv1.Error {
	for _, s := range sections {
		if string(s.Keys) == "too-large" {
			return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, "too large")
		}
	}
	for _, s := range sections {
		f.live[id][string(s.Keys)]++
	}
	return nil
}

func (f *fakeState) Load(id uint64, sections []*holdfastv1.FlushSection) *holdfastv1.Error {
	return f.Apply(id, sections, 0)
}

func (f *fakeState) Freeze(id, version uint64) {
	if _, ok := f.versions[id][version]; ok {
		panic(fmt.Sprintf("version %d of subtask %d is frozen twice", version, id))
	}
	f.versions[id][version] = maps.Clone(f.live[id])
}

func (f *fakeState) DropVersion(id, version uint64) { delete(f.versions[id], version) }

func (f *fakeState) Restore(id, version uint64) bool {
	if version == 0 {
		f.live[id] = map[string]int{}
		return true
	}
	v, ok := f.versions[id][version]
	if ok {
		f.live[id] = maps.Clone(v)
	}
	return ok
}

func (f *fakeState) Bytes(id uint64) uint64 { return uint64(len(f.live[id])) }

// log feeds a machine with commands at rising indexes.
type log struct {
	t     *testing.T
	m     *Machine
	keyed *fakeState
	index uint64
	now   int64
}

func newLog(t *testing.T) *log {
	t.Helper()
	k := newFakeState()
	return &log{t: t, m: NewMachine(k), keyed: k, index: 10, now: 1_000_000}
}

// do applies a command and returns its result.
func (l *log) do(c *internalv1.Command) *internalv1.CommandResult {
	l.t.Helper()
	l.index++
	l.now += 10
	r, err := l.m.Apply(l.index, c)
	if err != nil {
		l.t.Fatalf("index %d: %v", l.index, err)
	}
	return r
}

// must is do for a command that has to be taken.
func (l *log) must(c *internalv1.Command) *internalv1.CommandResult {
	l.t.Helper()
	r := l.do(c)
	if r.Error != nil {
		l.t.Fatalf("index %d: %v was refused: %v", l.index, c, r.Error)
	}
	return r
}

// refused is do for a command that must be refused with a reason.
func (l *log) refused(c *internalv1.Command, want holdfastv1.ErrorReason) *internalv1.CommandResult {
	l.t.Helper()
	r := l.do(c)
	if got := r.GetError().GetReason(); got != want {
		l.t.Fatalf("index %d: %v gave %v (%s), want %v", l.index, c, got, r.GetError().GetMessage(), want)
	}
	return r
}

func counterSpec(name string) *holdfastv1.JobSpec {
	return &holdfastv1.JobSpec{
		Name:       name,
		Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: 1000, TolerableFailedCheckpoints: 1000},
		Operators: []*holdfastv1.Operator{
			{Uid: "source", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "kafka", Topics: []string{"in"}}},
			{Uid: "counter", Parallelism: 1,
				Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "source", Partitioning: holdfastv1.Partitioning_PARTITIONING_HASH}},
				States: []*holdfastv1.StateDescriptor{{Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}},
		},
	}
}

func withoutCheckpoints(s *holdfastv1.JobSpec) *holdfastv1.JobSpec {
	s.Checkpoint = nil
	return s
}

// coPartitioned widens a counter job to several subtasks by source partition.
func coPartitioned(s *holdfastv1.JobSpec, parallelism uint32) *holdfastv1.JobSpec {
	for _, o := range s.Operators {
		o.Parallelism = parallelism
		for _, in := range o.Inputs {
			in.Partitioning = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
		}
	}
	return s
}

func submit(spec *holdfastv1.JobSpec, submission, id string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_SubmitJob{SubmitJob: &internalv1.SubmitJob{Spec: spec, SubmissionId: submission, JobId: id, TimeMs: 1}}}
}

func cancel(job string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_CancelJob{CancelJob: &internalv1.CancelJob{JobId: job}}}
}

func splits(job string, offsets ...int64) *internalv1.Command {
	r := &internalv1.RecordSplits{JobId: job, OperatorUid: "source"}
	for i := range offsets {
		r.Splits = append(r.Splits, &holdfastv1.Split{Topic: "in", Partition: uint32(i), StartOffset: &offsets[i]})
	}
	return &internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: r}}
}

func assign(job string, targets ...*internalv1.AssignTarget) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_Assign{Assign: &internalv1.Assign{JobId: job, Targets: targets}}}
}

func target(subtask, token uint64, session string) *internalv1.AssignTarget {
	return &internalv1.AssignTarget{SubtaskId: subtask, ExpectedToken: token, NodeId: "node", SessionId: session, InstanceId: "i-" + session, ProcessId: "p-" + session}
}

func flush(subtask, token, seq uint64, key string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
		SubtaskId: subtask, FencingToken: token, Seq: seq, Sections: []*holdfastv1.FlushSection{{StateId: 1, Keys: []byte(key)}}}}}
}

func ready(subtask, token, seq, checkpoint uint64, next int64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_Ready{Ready: &internalv1.Ready{
		SubtaskId: subtask, FencingToken: token, Seq: seq, CheckpointId: checkpoint,
		Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: next}}}}}
}

func finish(subtask, token, seq uint64, next int64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_Finish{Finish: &internalv1.Finish{
		SubtaskId: subtask, FencingToken: token, Seq: seq, Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: next}}}}}
}

func begin(job string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{JobId: job}}}
}

func abort(job string, id uint64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_AbortCheckpoint{AbortCheckpoint: &internalv1.AbortCheckpoint{JobId: job, CheckpointId: id}}}
}

func resume(subtask, attempt, token uint64, instance, session string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_ResumeSubtask{ResumeSubtask: &internalv1.ResumeSubtask{
		SubtaskId: subtask, Attempt: attempt, ExpectedToken: token, InstanceId: instance, NodeId: "other", SessionId: session}}}
}

func fail(subtask, token uint64, reason holdfastv1.ErrorReason, at int64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_FailSubtask{FailSubtask: &internalv1.FailSubtask{
		SubtaskId: subtask, FencingToken: token, FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER, TimeMs: at,
		Error: Failure(reason, "boom", "topic", "in", "partition", "0", "offset", "5", "first_offset", "9")}}}
}

// running brings up a counter job on one subtask and returns its token.
func (l *log) running(spec *holdfastv1.JobSpec) (subtask, token uint64) {
	l.t.Helper()
	l.must(submit(spec, "s1", "job"))
	l.must(splits("job", 100))
	r := l.must(assign("job", target(1, 0, "a")))
	return 1, r.FencingToken
}

func (l *log) count(subtask uint64, key string, want int) {
	l.t.Helper()
	if got := l.keyed.live[subtask][key]; got != want {
		l.t.Fatalf("index %d: key %q of subtask %d is %d, want %d", l.index, key, subtask, got, want)
	}
}

func (l *log) status(want holdfastv1.JobStatus) {
	l.t.Helper()
	if got, _, _ := l.m.JobStatusOf("job"); got != want {
		l.t.Fatalf("index %d: the job is %v, want %v", l.index, got, want)
	}
}
