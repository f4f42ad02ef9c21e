package raftstore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// oracle is what a run must stay true to.
type oracle struct {
	outcome map[uint64]holdfastv1.CheckpointStatus // by checkpoint id
	newest  uint64                                 // highest id ever begun
	latest  uint64                                 // newest completed
	tokens  []uint64                               // newest by subtask
	attempt map[uint64]uint64                      // by token
	current []uint64                               // newest assigned attempt by subtask
	// delivered is how many proposals the faultless end has let through.
	delivered int
	// Without checkpoints: how far anybody has read, what was printed, and what
	// the state was.
	read    []int
	printed map[string]bool
	counted [][2][]int
}

func newOracle(subtasks int) oracle {
	return oracle{
		outcome: map[uint64]holdfastv1.CheckpointStatus{}, tokens: make([]uint64, subtasks), attempt: map[uint64]uint64{}, current: make([]uint64, subtasks),
		read: make([]int, subtasks), printed: map[string]bool{}, counted: make([][2][]int, subtasks),
	}
}

// fold is what the records before a position leave in the state.
func fold(records []int, pos int) (out [2][]int) {
	for o, key := range records[:pos] {
		out[key] = append(out[key], o)
	}
	return out
}

func asBytes(offsets []int) (b []byte) {
	for _, o := range offsets {
		b = append(b, byte(o))
	}
	return b
}

// asSum gives each offset two bits, so that a sum tells how often each counted.
func asSum(offsets []int) (sum uint64) {
	for _, o := range offsets {
		sum += 1 << (2 * o)
	}
	return sum
}

// stored reads the offsets that are counted in a key.
func (w *world) stored(k *keyed.Store, subtask int, version uint64, key int) (out []int) {
	group := int64(keyed.ByHash)
	if g := w.group(subtask); g != nil {
		group = int64(*g)
	}
	var vals keyed.Values
	if err := k.Get(uint64(subtask+1), version, 1, group, []uint32{1}, []byte{keyName(key)}, &vals); err != nil {
		w.r.Fatalf("read version %d of subtask %d: %v", version, subtask, err)
	}
	if vals.Found[0] == 0 {
		return nil
	}
	if !w.add {
		for _, b := range vals.Values {
			out = append(out, int(b))
		}
		return out
	}
	sum := binary.LittleEndian.Uint64(vals.Values)
	for o := 0; sum != 0; o, sum = o+1, sum>>2 {
		for range sum & 3 {
			out = append(out, o)
		}
	}
	return out
}

// applied is what is remembered of the state before an entry.
type applied struct {
	hash  string
	stale bool
}

// frameOf is the subtask of a frame, 0 of anything else.
func frameOf(c *internalv1.Command) (subtask uint64) {
	return c.GetFlush().GetSubtaskId() + c.GetReady().GetSubtaskId()
}

func (w *world) beforeApply(p underWay) applied {
	id := frameOf(p.cmd)
	if id == 0 || w.tokens[id-1] == p.token {
		return applied{}
	}
	return applied{hash: w.hash(w.truth), stale: true}
}

func (w *world) hash(f *fsm) string {
	v, err := f.Snapshot()
	if err != nil {
		w.r.Fatal(err)
	}
	h, err := v.(*fsmView).hash()
	if err != nil {
		w.r.Fatal(err)
	}
	return h
}

// afterApply asks what can be asked of one entry.
func (w *world) afterApply(p underWay, before applied, res *internalv1.CommandResult, index uint64) {
	if before.stale && (res.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_FENCED || w.hash(w.truth) != before.hash) {
		w.r.Fatalf("C4, invariant 1: %s of token %d was not fenced under token %d: %v", p.what, p.token, w.tokens[frameOf(p.cmd)-1], res)
	}
	w.truth.read(func(m *coordinator.Machine, k *keyed.Store) {
		for s := range w.subtasks {
			v, _ := m.Subtask(uint64(s + 1))
			if v.Token < w.tokens[s] {
				w.r.Fatalf("invariant 1: the token of subtask %d fell from %d to %d", s, w.tokens[s], v.Token)
			}
			w.tokens[s] = v.Token
			w.attempt[v.Token] = v.Attempt
			if res.Error == nil && p.cmd.GetAssign() != nil && v.Attempt == index {
				w.assigned(m, v)
			}
			if !w.checkpoints {
				w.countsOnce(k, s)
			}
		}
		w.outcomes(m, k)
	})
}

// assigned is C2: an attempt begins with the newest completed checkpoint.
func (w *world) assigned(m *coordinator.Machine, v coordinator.SubtaskView) {
	w.current[v.ID-1] = v.Attempt
	if r := m.AssignFrame(v.ID).RestoredCheckpointId; w.checkpoints && r != v.LatestCompleted {
		w.r.Fatalf("C2, invariant 4: attempt %d starts from checkpoint %d although %d is COMPLETED", v.Attempt, r, v.LatestCompleted)
	}
}

// countsOnce is C5: what was counted is never taken back nor counted again.
func (w *world) countsOnce(k *keyed.Store, subtask int) {
	for key := range w.counted[subtask] {
		was, is := w.counted[subtask][key], w.stored(k, subtask, 0, key)
		if len(is) < len(was) || !slices.Equal(is[:len(was)], was) || !rising(is) {
			w.r.Fatalf("C5, invariant 6: key %c of subtask %d had counted %v, and then %v", keyName(key), subtask, was, is)
		}
		w.counted[subtask][key] = is
	}
}

func rising(list []int) bool {
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return false
		}
	}
	return true
}

// outcomes is C1, C2 and C3: one outcome for an id, an id never twice, and what
// is completed is one cut.
func (w *world) outcomes(m *coordinator.Machine, k *keyed.Store) {
	list, counts := m.Checkpoints(modelJob)
	pending := uint64(0)
	for _, c := range list {
		if c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING {
			pending++
		}
		was, seen := w.outcome[c.Id]
		if seen && was != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING && was != c.Status || !seen && c.Id <= w.newest {
			w.r.Fatalf("C3, invariant 3: checkpoint %d was %v and is %v; the newest was %d", c.Id, was, c.Status, w.newest)
		}
		w.outcome[c.Id] = c.Status
		if c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED && was != c.Status {
			w.completed(k, c)
		}
	}
	for _, c := range list {
		w.newest = max(w.newest, c.Id)
	}
	if pending > 1 || counts.Triggered != counts.Completed+counts.Aborted+pending || counts.Triggered != w.newest {
		w.r.Fatalf("C3, invariant 3: %d checkpoints up to id %d were begun, %d completed, %d aborted, and %d are pending: one has no outcome",
			counts.Triggered, w.newest, counts.Completed, counts.Aborted, pending)
	}
}

func (w *world) completed(k *keyed.Store, c *holdfastv1.Checkpoint) {
	if c.Id < w.latest {
		w.r.Fatalf("C3: the restart point went back from %d to %d", w.latest, c.Id)
	}
	w.latest = c.Id
	if len(c.Acks) != w.subtasks {
		w.r.Fatalf("C1: checkpoint %d completed with %d of %d acks", c.Id, len(c.Acks), w.subtasks)
	}
	for _, a := range c.Acks {
		s := int(a.SubtaskId - 1)
		w.isCut(k, c.Id, s, int(a.Positions[0].NextOffset))
		if w.attempt[a.FencingToken] != w.current[s] {
			w.r.Fatalf("C2, invariant 4: checkpoint %d completes behind a rollback: subtask %d acked as attempt %d and is attempt %d now",
				c.Id, s, w.attempt[a.FencingToken], w.current[s])
		}
	}
}

// isCut is C1: version n is the fold of the records before its position.
func (w *world) isCut(k *keyed.Store, n uint64, subtask, pos int) {
	for key, want := range fold(w.records[subtask], pos) {
		if got := w.stored(k, subtask, n, key); !slices.Equal(got, want) {
			w.r.Fatalf("C1, invariant 2: checkpoint %d of subtask %d is at position %d, and version %d has counted %v in key %c, not %v",
				n, subtask, pos, n, got, keyName(key), want)
		}
	}
}

// acknowledged is the output of a batch leaving the process, where it waits for
// its flush.
func (w *world) acknowledged(p *process, fr frame) {
	if w.checkpoints {
		return
	}
	for _, key := range fr.keys {
		for n := fr.from[key] + 1; n <= fr.end[key]; n++ {
			number := fmt.Sprintf("%d/%c/%d", p.subtask, keyName(key), n)
			if w.printed[number] {
				w.r.Fatalf("C5: the number %d of key %c is printed twice", n, keyName(key))
			}
			w.printed[number] = true
		}
	}
}

// check asks what must hold in every state.
func (w *world) check() {
	for _, p := range w.procs {
		w.readsOwnWrites(p)
	}
	for _, h := range w.hosts {
		if h.at == len(w.log) {
			if a, b := w.hash(h.f), w.hash(w.truth); a != b {
				w.r.Fatalf("invariant 7: node %s has the hash %s after the whole log, another one %s", h.name, a, b)
			}
		}
	}
}

// readsOwnWrites is C7: any answer that the host may give for a key that may be
// absent from the copy, being clean, is what the client has acknowledged.
func (w *world) readsOwnWrites(p *process) {
	s := p.stream
	if s == nil || p.token == 0 || s.token != p.token {
		return
	}
	s.host.f.read(func(m *coordinator.Machine, k *keyed.Store) {
		v, ok := m.Subtask(uint64(p.subtask + 1))
		// Where the state of the node is older, the Get waits; where it is of
		// another token, it is not answered.
		if !ok || s.host.f.lastIndex < s.ackedAt || v.Token != p.token {
			return
		}
		for key := range p.vals {
			inFlight := slices.ContainsFunc(p.out, func(fr frame) bool { return slices.Contains(fr.keys, key) })
			if p.flushed[key] != len(p.vals[key]) || inFlight {
				continue
			}
			if got := w.stored(k, p.subtask, 0, key); !slices.Equal(got, p.vals[key]) {
				w.r.Fatalf("C7, invariant 9: node %s answers Get of key %c with %v, and the client of attempt %d has acknowledged %v",
					s.host.name, keyName(key), got, p.attempt, p.vals[key])
			}
		}
	})
}

// finish is C6: from here, without faults, a further checkpoint completes, or
// without checkpoints everything that was read is counted.
func (w *world) finish() {
	target := w.latest + 1
	w.delivered = 0
	for round := range 60 {
		if w.suspended() || w.checkpoints && w.latest >= target || !w.checkpoints && w.settled() {
			return
		}
		w.faultless(round)
		w.check()
	}
	w.r.Log(w.describe())
	w.r.Fatalf("C6: although nothing fails any more, no checkpoint after %d completes, or what was read is not counted", target-1)
}

// describe tells where everybody is.
func (w *world) describe() string {
	var b strings.Builder
	w.truth.read(func(m *coordinator.Machine, _ *keyed.Store) {
		status, reason, _ := m.JobStatusOf(modelJob)
		fmt.Fprintf(&b, "the job is %v, %v; checkpoints %v\n", status, reason, w.outcome)
		for s := range w.subtasks {
			v, _ := m.Subtask(uint64(s + 1))
			fmt.Fprintf(&b, "subtask %d: %+v\n", s, v)
		}
	})
	for _, p := range w.procs {
		fmt.Fprintf(&b, "process %s: attempt %d, token %d, position %d, seq %d, %d frames out, newest barrier %d, seal %+v\n",
			p.instance, p.attempt, p.token, p.pos, p.seq, len(p.out), p.bar, p.seal)
		if s := p.stream; s != nil {
			fmt.Fprintf(&b, "  stream %s to %s: token %d, resuming %d\n", s.session, s.host.name, s.token, s.resuming)
		}
	}
	return b.String()
}

func (w *world) suspended() (yes bool) {
	w.truth.read(func(m *coordinator.Machine, _ *keyed.Store) {
		s, _, _ := m.JobStatusOf(modelJob)
		yes = s == holdfastv1.JobStatus_JOB_STATUS_SUSPENDED
	})
	return yes
}

func (w *world) settled() bool {
	for s := range w.subtasks {
		if w.holder(s) == nil || len(w.holder(s).out) > 0 || w.holder(s).pos < len(w.records[s]) {
			return false
		}
	}
	return true
}

// holder is the process that holds the current token of a subtask.
func (w *world) holder(subtask int) *process {
	for _, p := range w.procs {
		if p.subtask == subtask && p.token != 0 && p.token == w.tokens[subtask] {
			return p
		}
	}
	return nil
}

// faultless is a round in which everybody does what is next.
func (w *world) faultless(round int) {
	for _, h := range w.hosts {
		w.catchUp(h, len(w.log))
	}
	for _, p := range w.procs {
		p.faultless()
	}
	w.truth.read(func(m *coordinator.Machine, _ *keyed.Store) {
		for s := range w.subtasks {
			v, _ := m.Subtask(uint64(s + 1))
			p := w.procs[2*s]
			if h := w.holder(s); h != nil && h.stream != nil && v.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING {
				// It was taken for lost, and is there.
				w.propose("Resume", &internalv1.ResumeSubtask{SubtaskId: v.ID, Attempt: v.Attempt, ExpectedToken: v.Token,
					InstanceId: h.instance, NodeId: h.stream.host.name, SessionId: h.stream.session})
			}
			if w.holder(s) == nil && !w.comesBack(v) && p.stream != nil {
				w.propose("Assign", &internalv1.Assign{JobId: modelJob, Targets: []*internalv1.AssignTarget{{SubtaskId: v.ID, ExpectedToken: v.Token,
					NodeId: p.stream.host.name, SessionId: p.stream.session, InstanceId: p.instance}}})
			}
		}
	})
	if w.outcome[w.newest] != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING {
		w.propose("Begin", &internalv1.BeginCheckpoint{JobId: modelJob})
	} else if round%10 == 9 {
		w.propose("Abort", &internalv1.AbortCheckpoint{JobId: modelJob, CheckpointId: w.newest}) // it expires
	}
	for _, p := range w.net[w.delivered:] {
		w.apply(p)
	}
	w.delivered = len(w.net)
}

// comesBack tells whether a process still has the attempt and will resume it.
func (w *world) comesBack(v coordinator.SubtaskView) bool {
	return v.Attempt != 0 && slices.ContainsFunc(w.procs, func(p *process) bool { return p.attempt == v.Attempt })
}

func (p *process) faultless() {
	if p.stream == nil {
		p.connect(p.w.hosts[0])
	}
	p.look()
	for i := 0; p.stream != nil && i < len(p.stream.answers); i++ {
		p.answer(i)
	}
	if p.stream == nil || p.token == 0 {
		return
	}
	for _, fr := range p.out {
		p.send(fr) // nodes send again what was not applied
	}
	p.record()
	p.flush(true)
}
