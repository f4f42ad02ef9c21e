package coordinator

import (
	"testing"

	"pgregory.net/rapid"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// history is what a random run must stay true to.
type history struct {
	outcome map[uint64]holdfastv1.CheckpointStatus // by checkpoint id
	newest  uint64                                 // highest id ever begun
	token   uint64                                 // highest token ever given
	latest  uint64                                 // newest completed
}

// sent is a frame of the client, kept for ever: any of them may be applied at
// any later time, again and again.
type sent struct{ cmd *internalv1.Command }

// TestMachine_Invariants applies random interleavings of delayed, doubled and
// lost proposals, and checks after each what section 3 of the architecture
// demands: tokens rise (1), an ack is judged once and has one outcome, ids are
// used once (3), nothing completes behind an assignment (4), a frame counts
// once (6). The counter in the state is compared with a model of its own.
func TestMachine_Invariants(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newLog(t)
		s, tok := l.running(counterSpec("count"))
		h := &history{outcome: map[uint64]holdfastv1.CheckpointStatus{}, token: tok}
		m := &counterModel{token: tok, versions: map[uint64]int{}}
		var frames []sent
		seq := uint64(0)
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.IntRange(0, 8).Draw(r, "step") {
			case 0, 1:
				seq++
				frames = append(frames, sent{flush(s, tok, seq, "k")})
			case 2:
				if p := l.m.byID["job"].Pending; p != nil {
					seq++
					frames = append(frames, sent{ready(s, tok, seq, p.Id, int64(seq))})
				}
			case 3, 4, 5:
				if len(frames) > 0 {
					c := frames[rapid.IntRange(0, len(frames)-1).Draw(r, "frame")].cmd
					l.do(c)
					m.frame(c)
				}
			case 6:
				l.do(begin("job"))
			case 7:
				if p := l.m.byID["job"].Pending; p != nil && rapid.Bool().Draw(r, "abort") {
					l.do(abort("job", p.Id))
				}
			case 8:
				v, _ := l.m.Subtask(s)
				if rapid.Bool().Draw(r, "resume") {
					tok = l.must(resume(s, v.Attempt, v.Token, v.InstanceID, "x")).FencingToken
					m.token = tok
				} else {
					tok = l.must(assign("job", target(s, v.Token, "x"))).FencingToken
					seq = 0
					m.assign(tok, v.LatestCompleted)
				}
			}
			h.check(r, l, m)
		}
	})
}

// counterModel is the subtask as the rules describe it, written without the
// machine.
type counterModel struct {
	token, lastSeq uint64
	count          int
	versions       map[uint64]int
	pending        uint64
}

func (m *counterModel) frame(c *internalv1.Command) {
	token, seq, n := c.GetFlush().GetFencingToken(), c.GetFlush().GetSeq(), uint64(0)
	if r := c.GetReady(); r != nil {
		token, seq, n = r.FencingToken, r.Seq, r.CheckpointId
	}
	if token != m.token || seq != m.lastSeq+1 {
		return
	}
	m.lastSeq = seq
	switch n {
	case 0:
		m.count++
	case m.pending:
		m.versions[n] = m.count
	}
}

func (m *counterModel) assign(token, restored uint64) {
	m.token, m.lastSeq, m.count = token, 0, m.versions[restored]
}

func (h *history) check(r *rapid.T, l *log, m *counterModel) {
	j := l.m.byID["job"]
	v, _ := l.m.Subtask(1)
	if v.Token < h.token {
		r.Fatalf("the token fell from %d to %d", h.token, v.Token)
	}
	h.token = v.Token
	m.pending = 0
	if p := j.Pending; p != nil {
		if _, decided := h.outcome[p.Id]; decided || p.Id < h.newest {
			r.Fatalf("checkpoint id %d is used twice", p.Id)
		}
		h.newest, m.pending = p.Id, p.Id
	}
	for _, c := range j.History {
		if was, ok := h.outcome[c.Id]; ok && was != c.Status {
			r.Fatalf("checkpoint %d was %v and is %v", c.Id, was, c.Status)
		}
		h.outcome[c.Id] = c.Status
		h.newest = max(h.newest, c.Id)
	}
	if j.LatestCompleted < h.latest {
		r.Fatalf("the restart point went back from %d to %d", h.latest, j.LatestCompleted)
	}
	h.latest = j.LatestCompleted
	if got := l.keyed.live[1]["k"]; got != m.count || v.LastSeq != m.lastSeq {
		r.Fatalf("state %d at seq %d, want %d at %d", got, v.LastSeq, m.count, m.lastSeq)
	}
	if h.latest != 0 && l.keyed.versions[1][h.latest]["k"] != m.versions[h.latest] {
		r.Fatalf("version %d is %d, want %d", h.latest, l.keyed.versions[1][h.latest]["k"], m.versions[h.latest])
	}
}
