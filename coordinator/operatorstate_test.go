package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	splitMode     = holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE
	unionMode     = holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION
	broadcastMode = holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST
)

func operatorState(name string, mode holdfastv1.OperatorStateMode) *holdfastv1.OperatorStateDescriptor {
	d := &holdfastv1.OperatorStateDescriptor{Name: name, Mode: mode, Type: "string"}
	if mode == broadcastMode {
		d.MapKeyType = "string"
	}
	return d
}

// listBytes and mapBytes encode text as a list, and as a map of each to itself.
func listBytes(elements ...string) (b []byte) {
	for _, e := range elements {
		b = statevalue.AppendElement(b, []byte(e))
	}
	return b
}

func mapBytes(keys ...string) (b []byte) {
	for _, k := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		b = statevalue.AppendEntry(b, []byte(k), []byte(k))
	}
	return b
}

func elementsOf(t rapid.TB, list []byte) (out []string) {
	for len(list) > 0 {
		e, rest, err := statevalue.NextElement(list, false)
		if err != nil {
			t.Fatal(err)
		}
		out, list = append(out, string(e.Value)), rest
	}
	return out
}

// oldStates draws what subtasks had of some split states, a union and a broadcast one.
func oldStates(r *rapid.T, declared []DeclaredOperatorState, parallelism int) []*holdfastv1.OperatorStates {
	old := make([]*holdfastv1.OperatorStates, parallelism)
	for i := range old {
		old[i] = &holdfastv1.OperatorStates{}
		for _, d := range declared {
			var names []string
			for n := range rapid.IntRange(0, 6).Draw(r, "elements") {
				names = append(names, fmt.Sprintf("%s/%d/%d", d.Descriptor.Name, i, n))
			}
			content := listBytes(names...)
			if d.Descriptor.Mode == broadcastMode {
				content = mapBytes(names...)
			}
			old[i].States = append(old[i].States, &holdfastv1.OperatorStateContent{OperatorUid: d.OperatorUID, State: d.Descriptor, Content: content})
		}
	}
	return old
}

func contentIn(states []*holdfastv1.OperatorState, name string) []byte {
	for _, s := range states {
		if s.StateName == name {
			return s.Content
		}
	}
	return nil
}

// TestDistribute_Properties: split states give every element to one subtask, in the
// order of the old subtasks, in slices whose sizes differ by one at most, and what
// is over goes round from state to state; union states give all to all; broadcast
// states give each the whole map of one. Whoever asks gets the same.
func TestDistribute_Properties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var declared []DeclaredOperatorState
		splits := rapid.IntRange(1, 4).Draw(r, "split states")
		for i := range splits {
			declared = append(declared, DeclaredOperatorState{"op", operatorState(fmt.Sprint("split", i), splitMode)})
		}
		declared = append(declared, DeclaredOperatorState{"op", operatorState("union", unionMode)}, DeclaredOperatorState{"op", operatorState("broadcast", broadcastMode)})
		before, after := rapid.IntRange(1, 9).Draw(r, "before"), rapid.IntRange(1, 9).Draw(r, "after")
		old := oldStates(r, declared, before)
		got, err := DistributeOperatorStates(declared, old, after)
		if err != nil {
			r.Fatal(err)
		}
		again, _ := DistributeOperatorStates(declared, old, after)
		for i := range got {
			if !slices.EqualFunc(got[i], again[i], func(a, b *holdfastv1.OperatorState) bool { return proto.Equal(a, b) }) {
				r.Fatal("the same question has two answers")
			}
		}
		total := make([]int, after)
		for i := range splits {
			checkSplit(r, fmt.Sprint("split", i), old, got, i, total)
		}
		if before != after && slices.Max(total)-slices.Min(total) > 1 {
			r.Fatalf("%d states together: %v elements; what is over does not go round", splits, total)
		}
		var all []byte
		for _, o := range old {
			all = append(all, o.States[splits].Content...)
		}
		for i, states := range got {
			if string(contentIn(states, "union")) != string(all) {
				r.Fatalf("subtask %d has not the union of all", i)
			}
			if string(contentIn(states, "broadcast")) != string(old[i%before].States[splits+1].Content) {
				r.Fatalf("subtask %d has not the map of subtask %d", i, i%before)
			}
		}
	})
}

func checkSplit(r *rapid.T, name string, old []*holdfastv1.OperatorStates, got [][]*holdfastv1.OperatorState, state int, total []int) {
	var want, have []string
	for _, o := range old {
		want = append(want, elementsOf(r, o.States[state].Content)...)
	}
	least, most := len(want), 0
	for i, states := range got {
		elements := elementsOf(r, contentIn(states, name))
		if len(old) == len(got) && !slices.Equal(elements, elementsOf(r, old[i].States[state].Content)) {
			r.Fatalf("%s: subtask %d did not get its own back at the same parallelism", name, i)
		}
		if !slices.IsSortedFunc(elements, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) }) {
			r.Fatalf("%s: subtask %d got %v, in another order", name, i, elements)
		}
		have = append(have, elements...)
		total[i] += len(elements)
		least, most = min(least, len(elements)), max(most, len(elements))
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		r.Fatalf("%s: %d elements went in and %d came out", name, len(want), len(have))
	}
	if len(old) != len(got) && most-least > 1 {
		r.Fatalf("%s: subtasks got %d to %d elements", name, least, most)
	}
}

// The example of Flink's documentation, and its repartitioner's: ten elements to three,
// and the odd one of the next state to the second subtask.
func TestDistribute_AsFlink(t *testing.T) {
	declared := []DeclaredOperatorState{{"op", operatorState("a", splitMode)}, {"op", operatorState("b", splitMode)}}
	old := []*holdfastv1.OperatorStates{nil, nil}
	for i := range old {
		list := func(n int) []byte {
			var names []string
			for j := range n {
				names = append(names, fmt.Sprintf("%d%d", i, j))
			}
			return listBytes(names...)
		}
		old[i] = &holdfastv1.OperatorStates{States: []*holdfastv1.OperatorStateContent{
			{OperatorUid: "op", State: declared[0].Descriptor, Content: list(5)}, {OperatorUid: "op", State: declared[1].Descriptor, Content: list(2)},
		}}
	}
	got, err := DistributeOperatorStates(declared, old, 3)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, states := range got {
		text += fmt.Sprint(elementsOf(t, contentIn(states, "a")), elementsOf(t, contentIn(states, "b")), " ")
	}
	if want := "[00 01 02 03] [11] [04 10 11] [00 01] [12 13 14] [10] "; text != want {
		t.Fatalf("got  %s\nwant %s", text, want)
	}
}

func TestPackOperatorStates(t *testing.T) {
	declared := []DeclaredOperatorState{{"b", operatorState("list", splitMode)}, {"a", operatorState("map", broadcastMode)}}
	sent := func(uid, name string, content []byte) *holdfastv1.OperatorState {
		return &holdfastv1.OperatorState{OperatorUid: uid, StateName: name, Content: content}
	}
	list, rules := sent("b", "list", listBytes("x", "")), sent("a", "map", mapBytes("k"))
	one, problem := PackOperatorStates(declared, []*holdfastv1.OperatorState{list, rules})
	other, _ := PackOperatorStates(declared, []*holdfastv1.OperatorState{rules, list})
	if problem != "" || string(one) != string(other) {
		t.Fatalf("the order in which they come counts: %s", problem)
	}
	back, err := UnpackOperatorStates(one)
	if err != nil || len(back.States) != 2 || string(back.States[0].Content) != string(list.Content) || back.States[1].State.Name != "map" {
		t.Fatalf("unpacked: %v, %v", back, err)
	}
	for want, states := range map[string][]*holdfastv1.OperatorState{
		`the operator state "map" of operator "a" is missing`:               {list},
		`the operator state "list" of operator "b" is there twice`:          {list, list, rules},
		`the subtask has no operator state "other" of operator "b"`:         {list, rules, sent("b", "other", nil)},
		`the operator state "list" of operator "b": element 0: malformed`:   {sent("b", "list", []byte{1}), rules},
		`the operator state "map" of operator "a": entry 1: malformed: its`: {list, sent("a", "map", append(mapBytes("k"), mapBytes("k")...))},
	} {
		if packed, problem := PackOperatorStates(declared, states); packed != nil || !strings.HasPrefix(problem, want) {
			t.Errorf("got  %q\nwant %q", problem, want)
		}
	}
}

// keeping adds an operator state to a counter job.
func keeping(s *holdfastv1.JobSpec) *holdfastv1.JobSpec {
	s.Operators[0].OperatorStates = []*holdfastv1.OperatorStateDescriptor{operatorState("kept", unionMode)}
	return s
}

func readyKeeping(subtask, token, seq, checkpoint uint64, packed string) *internalv1.Command {
	c := ready(subtask, token, seq, checkpoint, 150)
	c.GetReady().Handles = []*holdfastv1.StateHandle{InlineOperatorState([]byte(packed))}
	return c
}

func partsIn(r RestorePoint) (out []string) {
	for _, h := range r.OperatorState {
		out = append(out, string(h.GetInline()))
	}
	return out
}

// The operator state of a memory job is in its ack, and every attempt of the chain
// begins with what all subtasks had.
func TestOperatorState_InTheAck(t *testing.T) {
	l := newLog(t)
	l.must(submit(keeping(coPartitioned(counterSpec("count"), 2)), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	n := l.must(begin("job")).CheckpointId
	l.must(readyKeeping(1, tok, 1, n, "one"))
	l.must(readyKeeping(1, tok, 1, n, "again")) // the first ack stands
	l.must(readyKeeping(2, tok, 1, n, "two"))
	l.must(assign("job", target(2, tok, "c")))
	r, ok := l.m.RestorePointOf(2)
	if got := partsIn(r); !ok || !slices.Equal(got, []string{"one", "two"}) || len(r.Handles) != 0 {
		t.Fatalf("restore point: %v, %v", got, r.Handles)
	}
	if c := l.m.Checkpoint("job", n); c.Acks[0].StateBytes != 3 || len(c.Acks[0].Handles) != 0 {
		t.Fatalf("described: %v", c.Acks[0])
	}
	restored, err := RestoreMachine(l.keyed, l.m.Records())
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := restored.RestorePointOf(2); !slices.Equal(partsIn(r), []string{"one", "two"}) {
		t.Fatalf("a snapshot has lost it: %v", partsIn(r))
	}
}

// What a subtask has at its end stands for it in later checkpoints.
func TestOperatorState_OfAFinishedSubtask(t *testing.T) {
	l := newLog(t)
	l.must(submit(keeping(coPartitioned(counterSpec("count"), 2)), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	f := finish(1, tok, 1, 100)
	f.GetFinish().Handles = []*holdfastv1.StateHandle{InlineOperatorState([]byte("end"))}
	l.must(f)
	for range 2 {
		n := l.must(begin("job")).CheckpointId
		pending := inlineTotal(l.m.byID["job"])
		l.must(readyKeeping(2, tok, n, n, "goes on"))
		if decided := inlineTotal(l.m.byID["job"]); pending != uint64(len("end")) || decided != pending {
			t.Fatalf("%d inline bytes are counted while the checkpoint is pending, %d behind it", pending, decided)
		}
	}
	l.must(assign("job", target(2, tok, "c")))
	if r, _ := l.m.RestorePointOf(2); !slices.Equal(partsIn(r), []string{"end", "goes on"}) {
		t.Fatalf("restore point: %v", partsIn(r))
	}
}

// The same of the memory backend: all ends fit where all acks did.
func TestOperatorState_EndsBetweenCheckpoints(t *testing.T) {
	const n = 30
	l := newLog(t)
	spec := keeping(coPartitioned(counterSpec("count"), n))
	spec.Checkpoint.NumRetained = 100
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0, 0))
	full, tokens := string(make([]byte, MaxOperatorStateInLog)), map[uint64]uint64{}
	for i := uint64(1); i <= n; i++ {
		tokens[i] = l.must(assign("job", target(i, 0, fmt.Sprint("stream", i)))).FencingToken
	}
	id := l.must(begin("job")).CheckpointId
	for i := uint64(1); i <= n; i++ {
		l.must(readyKeeping(i, tokens[i], 1, id, full))
	}
	for i := uint64(1); i <= n; i++ {
		f := finish(i, tokens[i], 2, 100)
		f.GetFinish().Handles = []*holdfastv1.StateHandle{InlineOperatorState([]byte(full))}
		if e := l.do(f).Error; e != nil {
			t.Fatalf("the end of subtask %d: %s", i, e.Message)
		}
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_FINISHED)
}

// By default, as in Flink, no failed checkpoint is tolerated, and a declined one is one:
// the job restarts, and the reason says why and what to do.
func TestReady_DeclinedByDefault(t *testing.T) {
	l := newLog(t)
	spec := keeping(counterSpec("count"))
	spec.Checkpoint.TolerableFailedCheckpoints = 0
	s, tok := l.running(spec)
	n := l.must(begin("job")).CheckpointId
	c := ready(s, tok, 1, n, 150)
	c.GetReady().Declined = OperatorStateTooLarge(1<<20, MaxOperatorStateInLog)
	l.must(c)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	r := l.m.byID["job"].Reason
	if r.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_FAILED ||
		!strings.Contains(r.Message, "0 are tolerated (execution.checkpointing.tolerable-failed-checkpoints)") || !strings.Contains(r.Message, "1048576 bytes, at most 131072 are allowed") {
		t.Fatalf("the reason of the restart: %v", r)
	}
	l.refused(flush(s, tok, 2, "k"), fencedReason)
	if e := l.m.byID["job"].Exceptions; len(e) != 1 || e[0].Error.Message != r.Message {
		t.Fatalf("exceptions: %v", e)
	}
}

// Where some are tolerated, a declined checkpoint is aborted with the reason, its Ready takes
// its seq, and the job goes on. A subtask that has acked cannot decline any more.
func TestReady_Declined(t *testing.T) {
	l := newLog(t)
	l.must(submit(keeping(coPartitioned(counterSpec("count"), 2)), "", "job"))
	l.must(splits("job", 0, 0))
	tok := l.must(assign("job", target(1, 0, "a"), target(2, 0, "b"))).FencingToken
	n := l.must(begin("job")).CheckpointId
	decline := func(subtask, seq uint64) *internalv1.Command {
		c := ready(subtask, tok, seq, n, 150)
		c.GetReady().Declined = OperatorStateTooLarge(1<<20, MaxOperatorStateInLog)
		return c
	}
	l.must(readyKeeping(1, tok, 1, n, "one"))
	l.must(decline(1, 2))
	if l.m.byID["job"].Pending == nil {
		t.Fatal("a subtask declined what it had acked")
	}
	l.must(decline(2, 1))
	c := l.m.Checkpoint("job", n)
	if c.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED || c.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE ||
		!strings.Contains(c.Reason.Message, "1048576 bytes, at most 131072 are allowed") {
		t.Fatalf("checkpoint: %v", c)
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.must(flush(2, tok, 2, "k"))
	if got := l.m.byID["job"].FailedInARow; got != 1 {
		t.Fatalf("%d failed checkpoints are counted", got)
	}
}

// Nothing else than an operator state is in the acks of the memory backend.
func TestReady_OtherPartsAreDeclined(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(keeping(counterSpec("count")))
	n := l.must(begin("job")).CheckpointId
	c := readyKeeping(s, tok, 1, n, "x")
	c.GetReady().Handles[0].Format = "canonical"
	l.must(c)
	if r := l.m.Checkpoint("job", n).Reason; r.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST {
		t.Fatalf("reason: %v", r)
	}
	f := finish(s, tok, 2, 100)
	f.GetFinish().Handles = []*holdfastv1.StateHandle{{Format: OperatorStateFormat, File: "shared/x", Size: 1}}
	l.refused(f, holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
}

// On hosts it is one more part of the snapshot, which no state backend is given.
func TestOperatorState_OnHosts(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) { keeping(s) })
	n := l.must(begin("job")).CheckpointId
	for _, s := range []uint64{1, 2} {
		own := file(fmt.Sprintf("chk-%d/%sstate", n, FilePrefix(tok, n, s)), false)
		l.must(ackOnHost(hostAck(s, tok, n, 0, own, InlineOperatorState([]byte(fmt.Sprint("of ", s))))))
	}
	l.must(assign("job", targetOn(1, tok, "c", "node", "inc")))
	r, ok := l.m.RestorePointOf(1)
	if !ok || len(r.Handles) != 1 || r.Handles[0].File == "" || !slices.Equal(partsIn(r), []string{"of 1", "of 2"}) {
		t.Fatalf("restore point: %+v", r)
	}
	if _, base := l.m.BaseOf(1); len(base) != 1 {
		t.Fatalf("base: %v", base)
	}
}

func TestNormalizeSpec_OperatorStates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *holdfastv1.JobSpec)
		want   string
	}{
		"without checkpoints": {func(s *holdfastv1.JobSpec) { s.Checkpoint = nil },
			`operator "source" has the operator state "kept", and the job has no checkpoints, in which alone it is kept; enable them (EnableCheckpointing, execution.checkpointing.interval)`},
		"no mode": {func(s *holdfastv1.JobSpec) { s.Operators[0].OperatorStates[0].Mode = 0 },
			`operator state "kept" of operator "source": unknown mode 0; known are SPLIT_DISTRIBUTE, UNION, BROADCAST`},
		"no type": {func(s *holdfastv1.JobSpec) { s.Operators[0].OperatorStates[0].Type = "int" },
			`operator state "kept" of operator "source": unknown type "int"; known are bytes, string, int64, float64, bool, json, proto:<full name>`},
		"keys of a list": {func(s *holdfastv1.JobSpec) { s.Operators[0].OperatorStates[0].MapKeyType = "int64" },
			`operator state "kept" of operator "source": map_key_type is set, and its mode is not BROADCAST`},
		"twice": {func(s *holdfastv1.JobSpec) {
			s.Operators[0].OperatorStates = append(s.Operators[0].OperatorStates, operatorState("kept", splitMode))
		}, `operator "source" declares the operator state "kept" twice; give each its own name`},
		"keyed too": {func(s *holdfastv1.JobSpec) {
			s.Operators[1].OperatorStates = []*holdfastv1.OperatorStateDescriptor{operatorState("count", splitMode)}
		}, `operator "counter" has a keyed state "count" and an operator state of this name; give each its own name`},
		"bad name": {func(s *holdfastv1.JobSpec) { s.Operators[0].OperatorStates[0].Name = "" },
			`operator "source": the name "" of an operator state is not ` + nameRule},
	} {
		t.Run(name, func(t *testing.T) {
			s := keeping(counterSpec("count"))
			c.change(s)
			_, e := NormalizeSpec(s)
			if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC || e.GetMessage() != c.want {
				t.Fatalf("got  %v\nwant %s", e, c.want)
			}
		})
	}
}

func TestCheckOperatorStateRestorable(t *testing.T) {
	for want, change := range map[string]func(d *holdfastv1.OperatorStateDescriptor){
		"": func(d *holdfastv1.OperatorStateDescriptor) { d.TypeVersion = 3 },
		"the mode UNION, and the job declares BROADCAST": func(d *holdfastv1.OperatorStateDescriptor) {
			d.Mode, d.MapKeyType = broadcastMode, "string"
		},
		`the type "string", and the job declares "int64"`: func(d *holdfastv1.OperatorStateDescriptor) { d.Type = "int64" },
		"version 2 of its type, and the job declares the older version 1": func(d *holdfastv1.OperatorStateDescriptor) {
			d.TypeVersion = 1
		},
	} {
		old, now := operatorState("kept", unionMode), operatorState("kept", unionMode)
		old.TypeVersion, now.TypeVersion = 2, 2
		change(now)
		e := CheckOperatorStateRestorable("op", old, now)
		if want == "" && e != nil || want != "" && (e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE || !strings.Contains(e.Message, want)) {
			t.Errorf("got %v, want %q", e, want)
		}
	}
	keyed := &holdfastv1.Operator{Uid: "op", States: []*holdfastv1.StateDescriptor{{Name: "kept"}}}
	unkeyed := &holdfastv1.Operator{Uid: "op", OperatorStates: []*holdfastv1.OperatorStateDescriptor{{Name: "kept"}}}
	for _, e := range []*holdfastv1.Error{CheckOperatorStateKind(keyed, unkeyed), CheckOperatorStateKind(unkeyed, keyed)} {
		if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE || e.GetMetadata()["state_name"] != "kept" {
			t.Errorf("got %v", e)
		}
	}
	if e := CheckOperatorStateKind(keyed, keyed); e != nil {
		t.Error(e)
	}
}
