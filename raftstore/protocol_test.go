package raftstore

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// TestProtocol_Invariants plays the protocol between the real state machine and
// a model of everything around it: hosts that see any older state of the log,
// operator processes with a working copy whose values are lists of the offsets
// counted in them, leaders that propose from any state, and a network in which
// every proposal stays under way for ever, to be applied late, twice or never.
// After each step it asks what docs/architecture.md demands (see check), and at
// the end that the way to a further checkpoint is open.
func TestProtocol_Invariants(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r)
		for range rapid.IntRange(1, 100).Draw(r, "steps") {
			w.step()
			w.check()
		}
		w.finish()
	})
}

const modelJob = "job"

// world is the log and what is around it.
type world struct {
	r *rapid.T
	// Of this run: checkpoints enabled, ADD instead of PUT, a limit on the state.
	checkpoints, add bool
	limit            uint64

	truth *fsm // what the whole log gives
	log   []Entry
	hosts []*replica
	// net are the proposals under way, for ever.
	net      []underWay
	subtasks int
	records  [][]int // the key of each record, by subtask
	procs    []*process
	sessions int

	oracle
}

// replica is a node: a state machine that has applied some of the log.
type replica struct {
	name string
	f    *fsm
	at   int
}

// underWay is a proposal: a command under way, and, of a frame, the stream that waits for
// its answer.
type underWay struct {
	what   string
	cmd    *internalv1.Command
	stream *stream
	token  uint64
	seq    uint64
}

func newWorld(r *rapid.T) *world {
	w := &world{r: r, truth: newFSM()}
	w.checkpoints = rapid.IntRange(0, 3).Draw(r, "checkpoints") > 0
	w.add = rapid.Bool().Draw(r, "add")
	w.subtasks = rapid.IntRange(1, 2).Draw(r, "subtasks")
	if rapid.IntRange(0, 5).Draw(r, "limited") == 0 {
		w.limit = 6 // two bytes are keys
		if w.add {
			w.limit = 12 // one number
		}
	}
	for i := range 2 {
		w.hosts = append(w.hosts, &replica{name: fmt.Sprint("h", i), f: newFSM()})
	}
	spec := w.spec()
	w.must(&internalv1.SubmitJob{Spec: spec, JobId: modelJob})
	var splits []*holdfastv1.Split
	for p := range w.subtasks {
		w.records = append(w.records, rapid.SliceOfN(rapid.IntRange(0, 1), 2, 8).Draw(r, "records"))
		s := &holdfastv1.Split{Topic: "t", Partition: uint32(p)}
		if w.checkpoints {
			s.StartOffset = proto.Int64(0)
		}
		splits = append(splits, s)
		for i := range 2 {
			w.procs = append(w.procs, &process{w: w, name: fmt.Sprintf("p%d-%d", p, i), subtask: p})
		}
	}
	w.must(&internalv1.RecordSplits{JobId: modelJob, OperatorUid: "source", Splits: splits})
	w.oracle = newOracle(w.subtasks)
	for _, p := range w.procs {
		p.renew()
	}
	return w
}

func (w *world) spec() *holdfastv1.JobSpec {
	part := holdfastv1.Partitioning_PARTITIONING_HASH
	if w.subtasks > 1 {
		part = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
	}
	kind := "bytes"
	if w.add {
		kind = "int64"
	}
	s := &holdfastv1.JobSpec{
		Name: modelJob, StateBackend: &holdfastv1.StateBackend{MemoryMaxSize: w.limit},
		Operators: []*holdfastv1.Operator{
			{Uid: "source", Parallelism: uint32(w.subtasks), Source: &holdfastv1.SourceSpec{Connector: "model"}},
			{Uid: "counter", Parallelism: uint32(w.subtasks), Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "source", Partitioning: part}},
				States: []*holdfastv1.StateDescriptor{{Name: "list", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: kind}}},
		},
	}
	if w.checkpoints {
		s.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: 1000, TolerableFailedCheckpoints: 2, NumRetained: 2}
		s.RestartStrategy = &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_FixedDelay{
			FixedDelay: &holdfastv1.FixedDelay{Attempts: 1 << 30, DelayMs: 1}}}
	}
	return s
}

// must applies a command of the beginning.
func (w *world) must(body proto.Message) {
	if res, _ := w.commit(w.command(body)); res.Error != nil {
		w.r.Fatalf("%v: %v", body, res.Error)
	}
}

func (w *world) command(body proto.Message) *internalv1.Command {
	switch x := body.(type) {
	case *internalv1.SubmitJob:
		return &internalv1.Command{Command: &internalv1.Command_SubmitJob{SubmitJob: x}}
	case *internalv1.RecordSplits:
		return &internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: x}}
	case *internalv1.Assign:
		return &internalv1.Command{Command: &internalv1.Command_Assign{Assign: x}}
	case *internalv1.ResumeSubtask:
		return &internalv1.Command{Command: &internalv1.Command_ResumeSubtask{ResumeSubtask: x}}
	case *internalv1.BeginCheckpoint:
		return &internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: x}}
	case *internalv1.AbortCheckpoint:
		return &internalv1.Command{Command: &internalv1.Command_AbortCheckpoint{AbortCheckpoint: x}}
	case *internalv1.FailSubtask:
		return &internalv1.Command{Command: &internalv1.Command_FailSubtask{FailSubtask: x}}
	case *internalv1.LoseSubtask:
		return &internalv1.Command{Command: &internalv1.Command_LoseSubtask{LoseSubtask: x}}
	case *internalv1.ResumeJob:
		return &internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: x}}
	case *internalv1.Flush:
		return &internalv1.Command{Command: &internalv1.Command_Flush{Flush: x}}
	case *internalv1.Ready:
		return &internalv1.Command{Command: &internalv1.Command_Ready{Ready: x}}
	}
	w.r.Fatalf("no command of %T", body)
	return nil
}

// commit appends a command to the log and applies it to the truth.
func (w *world) commit(cmd *internalv1.Command) (*internalv1.CommandResult, uint64) {
	b, err := proto.Marshal(cmd)
	if err != nil {
		w.r.Fatal(err)
	}
	// Indexes rise with gaps, as those of a log with entries of Raft's own do.
	e := Entry{Index: uint64(3*len(w.log) + 10), Term: 1, Type: CommandType, Payload: b}
	w.log = append(w.log, e)
	results, err := w.truth.ApplyBatch([]Entry{e})
	if err != nil {
		w.r.Fatalf("the node halts: %v", err)
	}
	return results[0].(*internalv1.CommandResult), e.Index
}

// apply applies one of the proposals under way, which stays there.
func (w *world) apply(p underWay) {
	before := w.beforeApply(p)
	res, index := w.commit(p.cmd)
	w.r.Logf("applied at %d: %s (token %d, seq %d): %v", index, p.what, p.token, p.seq, res)
	w.afterApply(p, before, res, index)
	if p.stream != nil {
		p.stream.answers = append(p.stream.answers, logAnswer{p.token, p.seq, index, res})
	}
}

func (w *world) propose(what string, body proto.Message) {
	w.net = append(w.net, underWay{what: what, cmd: w.command(body)})
}

// catchUp lets a node apply n more entries.
func (w *world) catchUp(h *replica, n int) {
	for ; n > 0 && h.at < len(w.log); n-- {
		if _, err := h.f.ApplyBatch(w.log[h.at : h.at+1]); err != nil {
			w.r.Fatalf("node %s halts: %v", h.name, err)
		}
		h.at++
	}
}

// restart makes a node begin anew, from its log or from a snapshot, with the
// loss of its streams.
func (w *world) restart(h *replica) {
	for _, p := range w.procs {
		if p.stream != nil && p.stream.host == h {
			p.stream = nil
		}
	}
	if rapid.Bool().Draw(w.r, "snapshot") {
		h.f = w.reload(h.f)
		return
	}
	h.f, h.at = newFSM(), 0
}

func (w *world) reload(f *fsm) *fsm {
	v, err := f.Snapshot()
	if err != nil {
		w.r.Fatal(err)
	}
	var buf strings.Builder
	if err := v.Write(&buf); err != nil {
		w.r.Fatal(err)
	}
	out := newFSM()
	if err := out.Restore(strings.NewReader(buf.String())); err != nil {
		w.r.Fatalf("a node cannot load its own snapshot: %v", err)
	}
	return out
}

// step does one thing of all that can happen.
func (w *world) step() {
	r := w.r
	switch what := rapid.IntRange(0, 14).Draw(r, "step"); {
	case what > 11:
		// A little way without faults, or few runs would come to where it matters.
		w.delivered = len(w.net)
		w.faultless(0)
	case what < 4 && len(w.net) > 0:
		// Mostly something recent, or the runs would drown in old proposals.
		n := len(w.net)
		lo := 0
		if rapid.IntRange(0, 3).Draw(r, "recent") > 0 {
			lo = max(0, n-4)
		}
		w.apply(w.net[rapid.IntRange(lo, n-1).Draw(r, "proposal")])
	case what == 4:
		w.lead(w.anyView())
	case what == 5:
		h := w.hosts[rapid.IntRange(0, 1).Draw(r, "host")]
		if rapid.IntRange(0, 7).Draw(r, "restart") == 0 {
			w.restart(h)
			return
		}
		w.catchUp(h, rapid.IntRange(1, 6).Draw(r, "entries"))
	default:
		w.procs[rapid.IntRange(0, len(w.procs)-1).Draw(r, "process")].step()
	}
}

// anyView is the state of a node, behind or not: a leader that was replaced
// and does not know it proposes too.
func (w *world) anyView() *fsm {
	views := []*fsm{w.truth, w.hosts[0].f, w.hosts[1].f}
	return views[rapid.IntRange(0, 2).Draw(w.r, "view")]
}

// lead proposes something that a leader may propose by what it sees.
func (w *world) lead(f *fsm) {
	r := w.r
	f.read(func(m *coordinator.Machine, _ *keyed.Store) {
		id := uint64(rapid.IntRange(1, w.subtasks).Draw(r, "subtask"))
		v, ok := m.Subtask(id)
		if !ok {
			return
		}
		switch rapid.IntRange(0, 9).Draw(r, "command") {
		case 0, 1, 2:
			w.propose("Begin", &internalv1.BeginCheckpoint{JobId: modelJob})
		case 3:
			if v.Pending != nil {
				w.propose("Abort", &internalv1.AbortCheckpoint{JobId: modelJob, CheckpointId: v.Pending.ID})
			}
		case 4:
			w.propose("Lose", &internalv1.LoseSubtask{SubtaskId: id, FencingToken: v.Token, Error: &holdfastv1.Error{Message: "gone"}})
		case 5:
			w.propose("ResumeJob", &internalv1.ResumeJob{JobId: modelJob})
		default:
			w.assign(v)
		}
	})
}

// assign gives a subtask, live or not, to a standby or to the process that has it.
func (w *world) assign(v coordinator.SubtaskView) {
	p := w.procs[2*int(v.ID-1)+rapid.IntRange(0, 1).Draw(w.r, "to")]
	if p.stream == nil {
		return
	}
	w.propose("Assign", &internalv1.Assign{JobId: modelJob, Targets: []*internalv1.AssignTarget{{
		SubtaskId: v.ID, ExpectedToken: v.Token, NodeId: p.stream.host.name, SessionId: p.stream.session, InstanceId: p.instance, ProcessId: p.name}}})
}
