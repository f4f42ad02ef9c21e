package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// hostWorld is a job on two subtasks whose state is on their hosts, with a storage
// of its own. A state is a count; a file holds a part of it, and the handles of an
// ack together the whole.
type hostWorld struct {
	*log
	r       *rapid.T
	storage map[string]int64
	hosts   [3]hostAttempt                 // by subtask
	frames  []*internalv1.Command          // sent once, applied at any later time, again and again
	older   []*Machine                     // what nodes that are behind see
	lists   [][]Deletion                   // what they saw of deletions
	acks    [3][]*internalv1.AckCheckpoint // by subtask: what was uploaded ever
	outcome map[uint64]holdfastv1.CheckpointStatus
	latest  uint64
	files   int
}

// hostAttempt is the working state of a subtask.
type hostAttempt struct {
	token, cut     uint64
	value          int64
	base           map[uint64]bool // checkpoints that this attempt has files of
	finished, open bool
}

// TestMachine_HostInvariants applies random interleavings of delayed, doubled and
// lost proposals of hosts, of a leader's worker that deletes by what it saw at any
// time, and of a collector of orphans that may be behind. After each step: whatever a
// retained checkpoint names is there (12), its state is that of its positions (2, 10),
// and no outcome changes (3).
func TestMachine_HostInvariants(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newHostWorld(t, r)
		for range rapid.IntRange(1, 80).Draw(r, "steps") {
			w.step()
			w.check()
		}
		w.do(cancel("job"))
		w.check()
	})
}

func newHostWorld(t *testing.T, r *rapid.T) *hostWorld {
	t.Helper()
	w := &hostWorld{log: newLog(t), r: r, storage: map[string]int64{}, outcome: map[uint64]holdfastv1.CheckpointStatus{}}
	w.log.hosts()
	spec := onDisk(coPartitioned(counterSpec("count"), 2))
	spec.Checkpoint.NumRetained = uint32(rapid.IntRange(1, 2).Draw(r, "retained"))
	if rapid.Bool().Draw(r, "retention") {
		spec.Checkpoint.Retention = retain
	}
	w.must(submit(spec, "", "job"))
	w.must(splits("job", 0, 0))
	w.assign(1)
	w.assign(2)
	return w
}

// hostSteps are what may happen next, the usual more often.
var hostSteps = []func(w *hostWorld, s uint64){
	(*hostWorld).count, (*hostWorld).count, (*hostWorld).begin, (*hostWorld).begin, (*hostWorld).upload, (*hostWorld).upload, (*hostWorld).upload,
	(*hostWorld).uploadAll, (*hostWorld).uploadAll, (*hostWorld).uploadAll, (*hostWorld).uploadAll,
	(*hostWorld).deliver, (*hostWorld).deliver, (*hostWorld).deliver, (*hostWorld).abort, (*hostWorld).assign,
	(*hostWorld).remove, (*hostWorld).remove, (*hostWorld).collect, (*hostWorld).finish, (*hostWorld).savepoint, (*hostWorld).export,
}

func (w *hostWorld) step() {
	s := uint64(rapid.IntRange(1, 2).Draw(w.r, "subtask"))
	hostSteps[rapid.IntRange(0, len(hostSteps)-1).Draw(w.r, "step")](w, s)
	if rapid.IntRange(0, 4).Draw(w.r, "look") == 0 {
		m, err := RestoreMachine(newFakeState(), w.m.Records())
		if err != nil {
			w.r.Fatal(err)
		}
		w.older, w.lists = append(w.older, m), append(w.lists, m.Deletions())
	}
}

func (w *hostWorld) count(s uint64) {
	if h := &w.hosts[s]; h.open && !h.finished {
		h.value++
	}
}

func (w *hostWorld) begin(uint64) { w.do(begin("job")) }

func (w *hostWorld) savepoint(uint64) { w.do(savepoint("file:///mnt/sp", goOn, false)) }

func (w *hostWorld) abort(uint64) {
	if p := w.m.byID["job"].Pending; p != nil {
		w.do(abort("job", p.Id))
	}
}

// deliver applies any proposal that was ever made.
func (w *hostWorld) deliver(uint64) {
	if len(w.frames) > 0 {
		w.do(w.frames[rapid.IntRange(0, len(w.frames)-1).Draw(w.r, "frame")])
	}
}

// uploadAll is a checkpoint without trouble.
func (w *hostWorld) uploadAll(uint64) {
	w.do(begin("job"))
	for s := uint64(1); s <= 2; s++ {
		sent := len(w.frames)
		w.upload(s)
		for _, f := range w.frames[sent:] {
			w.do(f)
		}
	}
}

func (w *hostWorld) export(uint64) {
	for _, x := range w.m.Exports() {
		w.frames = append(w.frames, exported(x.CheckpointID, x.Savepoint, "somewhere", nil))
	}
}

// assign gives a subtask to a new attempt, which builds its state from the restore
// point.
func (w *hostWorld) assign(s uint64) {
	v, _ := w.m.Subtask(s)
	r := w.do(assign("job", targetOn(s, v.Token, fmt.Sprint("s", w.index), "node", "inc")))
	if r.Error != nil {
		return
	}
	p, ok := w.m.RestorePointOf(s)
	if !ok {
		w.r.Fatalf("subtask %d has no restore point", s)
	}
	h := hostAttempt{token: r.FencingToken, value: w.sum(p.Handles, "restore"), base: map[uint64]bool{p.CheckpointID: true}, open: true}
	for _, split := range w.m.AssignFrame(s).Splits {
		if split.GetStartOffset() != h.value {
			w.r.Fatalf("subtask %d begins at %d with the state of %d", s, split.GetStartOffset(), h.value)
		}
	}
	w.hosts[s] = h
}

// upload cuts and writes what changed since the base, if it is this attempt's, and
// makes the proposals that tell of it.
func (w *hostWorld) upload(s uint64) {
	h := &w.hosts[s]
	v, _ := w.m.Subtask(s)
	if v.Pending == nil || v.Token != h.token || v.Pending.ID <= h.cut || h.finished {
		return
	}
	h.cut = v.Pending.ID
	base, handles := w.snapshot(s, h.cut)
	if len(w.acks[s]) > 0 && rapid.IntRange(0, 3).Draw(w.r, "mistaken") == 0 {
		w.frames = append(w.frames, ackOnHost(w.again(s)))
	}
	a := hostAck(s, h.token, h.cut, base, handles...)
	a.Positions = []*holdfastv1.Position{{Topic: "in", Partition: uint32(s - 1), NextOffset: h.value}}
	h.base[h.cut] = true
	if len(handles) > 1 && rapid.Bool().Draw(w.r, "parts") {
		a.Parts, a.Handles = 1, handles[1:]
		w.frames = append(w.frames, ackPart(s, h.token, h.cut, 0, handles[0]))
	}
	w.frames = append(w.frames, ackOnHost(a))
	whole := proto.CloneOf(a)
	whole.Handles = handles
	w.acks[s] = append(w.acks[s], whole)
}

// again is the ack of a host that takes any earlier snapshot of the subtask for the
// base, however long that is subsumed.
func (w *hostWorld) again(s uint64) *internalv1.AckCheckpoint {
	old := proto.CloneOf(w.acks[s][rapid.IntRange(0, len(w.acks[s])-1).Draw(w.r, "old")])
	for _, h := range old.Handles {
		h.Shared = true
	}
	old.BaseCheckpointId, old.CheckpointId, old.FencingToken, old.Parts = old.CheckpointId, w.hosts[s].cut, w.hosts[s].token, 0
	return old
}

func (w *hostWorld) snapshot(s, n uint64) (base uint64, handles []*holdfastv1.StateHandle) {
	h := &w.hosts[s]
	id, old := w.m.BaseOf(s)
	part := h.value
	if h.base[id] && id != 0 && rapid.Bool().Draw(w.r, "incremental") {
		base, part = id, h.value-w.sum(old, "base")
		for _, o := range old {
			c := file(o.File, true)
			handles = append(handles, c)
		}
	}
	w.files++
	name := sst(h.token, n, s, fmt.Sprint(w.files))
	w.storage[name] = part
	return base, append(handles, file(name, false))
}

func (w *hostWorld) finish(s uint64) {
	h := &w.hosts[s]
	v, _ := w.m.Subtask(s)
	if h.finished || v.Token != h.token || s == 2 {
		return
	}
	h.finished = true
	base, handles := w.snapshot(s, 0)
	c := finishOnHost(s, h.token, handles...)
	f := c.GetFinish()
	f.BaseCheckpointId, f.Positions = base, []*holdfastv1.Position{{Topic: "in", Partition: uint32(s - 1), NextOffset: h.value}}
	w.frames = append(w.frames, c)
}

// remove deletes by a list of deletions from any time, as a leader's worker that was
// cut off in between, and says so at any later time.
func (w *hostWorld) remove(uint64) {
	list := w.m.Deletions()
	if len(w.lists) > 0 && rapid.Bool().Draw(w.r, "behind") {
		list = w.lists[rapid.IntRange(0, len(w.lists)-1).Draw(w.r, "list")]
	}
	for _, d := range list {
		for _, f := range d.Files {
			delete(w.storage, f)
		}
		if d.All {
			clear(w.storage)
		}
		w.frames = append(w.frames, deleted(&internalv1.FilesDeleted{Files: d.Files, Directory: d.All}))
	}
}

func (w *hostWorld) collect(uint64) {
	m := w.m
	if len(w.older) > 0 && rapid.Bool().Draw(w.r, "behind") {
		m = w.older[rapid.IntRange(0, len(w.older)-1).Draw(w.r, "copy")]
	}
	for _, f := range m.Orphans("job", slices.Collect(maps.Keys(w.storage))) {
		delete(w.storage, f)
	}
}

// sum reads the state that handles name.
func (w *hostWorld) sum(handles []*holdfastv1.StateHandle, what string) (n int64) {
	for _, h := range handles {
		part, ok := w.storage[h.File]
		if !ok {
			w.r.Fatalf("%s: %s is gone (invariant 12)", what, h.File)
		}
		n += part
	}
	return n
}

func (w *hostWorld) check() {
	j := w.m.byID["job"]
	for _, c := range j.History {
		if was, ok := w.outcome[c.Id]; ok && was != c.Status {
			w.r.Fatalf("checkpoint %d was %v and is %v (invariant 3)", c.Id, was, c.Status)
		}
		if w.outcome[c.Id] == 0 && c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
			w.ofCurrentAttempts(c)
		}
		w.outcome[c.Id] = c.Status
		if !c.Retained {
			continue
		}
		for _, a := range c.Acks {
			if ended(j.Status) && a.Handles == nil {
				continue // in the metadata
			}
			got := w.sum(a.Handles, fmt.Sprintf("checkpoint %d, subtask %d", c.Id, a.SubtaskId))
			if want := a.Positions[0].NextOffset; got != want {
				w.r.Fatalf("checkpoint %d of subtask %d has the state of %d at the position %d (invariant 2)", c.Id, a.SubtaskId, got, want)
			}
		}
	}
	if j.LatestCompleted < w.latest {
		w.r.Fatalf("the restart point went back from %d to %d", w.latest, j.LatestCompleted)
	}
	w.latest = j.LatestCompleted
	if c := completedCheckpoint(j); c != nil && !c.Retained && !ended(j.Status) {
		w.r.Fatalf("the restart point %d is not retained", c.Id)
	}
	if i := slices.IndexFunc(j.AckParts, func(p *internalv1.AckParts) bool { return p.CheckpointId != 0 && p.CheckpointId != j.Pending.GetId() }); i >= 0 {
		w.r.Fatalf("parts of a decided checkpoint stay: %v", j.AckParts[i])
	}
}

// ofCurrentAttempts checks a checkpoint that has just completed.
func (w *hostWorld) ofCurrentAttempts(c *holdfastv1.Checkpoint) {
	for _, a := range c.Acks {
		if v, ok := w.m.Subtask(a.SubtaskId); ok && !ended(v.JobStatus) && v.Token != a.FencingToken {
			w.r.Fatalf("checkpoint %d completed with the attempt %d of subtask %d, which is over (invariant 4)", c.Id, a.FencingToken, a.SubtaskId)
		}
	}
}
