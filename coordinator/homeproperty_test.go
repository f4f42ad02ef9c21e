package coordinator

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// homeWorld is a job without checkpoints on two subtasks and two nodes, whose
// processes die and come back.
type homeWorld struct {
	*log
	r      *rapid.T
	nodes  map[string]*process
	frames []*internalv1.Command // sent once, applied at any later time, again and again
	// counted is what each subtask has counted since it began; forgiven says that a
	// person let it begin anew.
	counted  [3]int
	forgiven [3]bool
	seen     [3]uint64 // the token that was looked at
	streams  map[string]stream
}

// stream is where a stream of a client ends.
type stream struct{ node, incarnation string }

// host is the process that runs the current attempt of a subtask, nil if there is
// none (any more).
func (w *homeWorld) host(v SubtaskView) *process {
	at, ok := w.streams[v.SessionID]
	if !ok || w.nodes[at.node].incarnation != at.incarnation {
		return nil
	}
	return w.nodes[at.node]
}

// process is one process of a node, and the state in its memory.
type process struct {
	incarnation string
	lives       int
	has         map[uint64]*homeState // by subtask
}

type homeState struct {
	origin uint64
	value  int
}

// TestMachine_HomeInvariants lets processes die and everybody's proposals come late,
// twice or never. What opens a subtask's state either has all that was counted, or
// begins anew because a person accepted the gap: never silently from zero.
func TestMachine_HomeInvariants(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newHomeWorld(t, r)
		for range rapid.IntRange(1, 80).Draw(r, "steps") {
			w.step()
			w.open()
		}
	})
}

func newHomeWorld(t *testing.T, r *rapid.T) *homeWorld {
	t.Helper()
	w := &homeWorld{log: newLog(t), r: r, nodes: map[string]*process{}, streams: map[string]stream{}}
	for _, n := range []string{"n1", "n2"} {
		w.nodes[n] = &process{}
		w.start(n)
		w.do(w.frames[len(w.frames)-1])
	}
	w.must(submit(withoutCheckpoints(onDisk(coPartitioned(counterSpec("count"), 2))), "", "job"))
	w.must(splits("job", 0, 0))
	return w
}

// start is a new process of a node. What the one before had is gone.
func (w *homeWorld) start(node string) {
	p := w.nodes[node]
	p.lives++
	p.incarnation, p.has = fmt.Sprintf("%s.%d", node, p.lives), map[uint64]*homeState{}
	w.sayHello(node)
}

// sayHello proposes the registration that the node's state machine calls for.
func (w *homeWorld) sayHello(node string) {
	if was := w.m.NodeOf(node).GetIncarnation(); was != w.nodes[node].incarnation {
		w.frames = append(w.frames, registerHost(node, w.nodes[node].incarnation, was, "rocksdb"))
	}
}

func (w *homeWorld) step() {
	s := uint64(rapid.IntRange(1, 2).Draw(w.r, "subtask"))
	node := rapid.SampledFrom([]string{"n1", "n2"}).Draw(w.r, "node")
	v, _ := w.m.Subtask(s)
	switch rapid.IntRange(0, 12).Draw(w.r, "step") {
	case 0, 1, 2:
		w.count(s)
	case 3, 4, 5:
		// A leader gives the subtask away by what it knows of the node's process.
		session, incarnation := fmt.Sprint("s", len(w.frames)), w.m.NodeOf(node).GetIncarnation()
		w.streams[session] = stream{node, incarnation}
		w.frames = append(w.frames, assign("job", targetOn(s, v.Token, session, node, incarnation)))
		if rapid.Bool().Draw(w.r, "now") {
			w.do(w.frames[len(w.frames)-1])
		}
	case 6, 7:
		w.do(w.frames[rapid.IntRange(0, len(w.frames)-1).Draw(w.r, "frame")])
	case 8:
		if rapid.IntRange(0, 3).Draw(w.r, "die") == 0 {
			w.start(node)
		}
		w.sayHello(node)
	case 9:
		if v.Home.NodeID != "" && rapid.Bool().Draw(w.r, "silent") {
			w.frames = append(w.frames, loseHost(v.Home.NodeID, v.Home.Incarnation, w.index))
		}
	case 10:
		gone := lose(s, v.Token)
		gone.GetLoseSubtask().GivenUp = rapid.Bool().Draw(w.r, "given up")
		w.do(gone)
	case 11:
		w.do(fail(s, v.Token, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 5))
	case 12:
		w.resume()
	}
}

// count is a flush that the host of the current attempt applied and acknowledged.
func (w *homeWorld) count(s uint64) {
	v, _ := w.m.Subtask(s)
	p := w.host(v)
	if p == nil {
		return
	}
	if h := p.has[s]; h != nil && h.origin == v.Home.Origin {
		h.value++
		w.counted[s]++
	}
}

func (w *homeWorld) resume() {
	lost := [3]bool{}
	for s := uint64(1); s <= 2; s++ {
		v, _ := w.m.Subtask(s)
		lost[s] = v.Home.Lost
	}
	accept := rapid.Bool().Draw(w.r, "accept")
	r := w.do(resumeJob(accept))
	switch {
	case r.Error != nil:
	case !accept && (lost[1] || lost[2]):
		w.r.Fatal("a job whose state is lost was resumed as if nothing were")
	default:
		for s := range lost {
			w.forgiven[s] = w.forgiven[s] || lost[s]
		}
	}
}

// open is what hosts do when their state machine shows a new attempt.
func (w *homeWorld) open() {
	for s := uint64(1); s <= 2; s++ {
		v, _ := w.m.Subtask(s)
		if v.SessionID == "" || v.Token == w.seen[s] {
			continue
		}
		w.seen[s] = v.Token
		p := w.host(v)
		if p == nil {
			continue
		}
		h := p.has[s]
		if h == nil || h.origin != v.Home.Origin {
			if w.counted[s] != 0 && !w.forgiven[s] {
				w.r.Fatalf("subtask %d begins from zero at attempt %d, and had counted %d", s, v.Attempt, w.counted[s])
			}
			h = &homeState{origin: v.Home.Origin}
			p.has[s] = h
			w.counted[s], w.forgiven[s] = 0, false
		}
		if h.value != w.counted[s] {
			w.r.Fatalf("subtask %d goes on with %d, and had counted %d", s, h.value, w.counted[s])
		}
	}
}
