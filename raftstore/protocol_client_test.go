package raftstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// process is an operator process with one slot, after docs/protocol.md.
type process struct {
	w              *world
	name, instance string
	lives          int
	subtask        int
	stream         *stream

	attempt, token uint64 // 0: standby
	pos            int
	vals           [2][]int // by key: the offsets counted in it
	flushed        [2]int   // how many of them are in frames
	seal           *seal
	out            []frame
	seq, bar       uint64
}

// stream is what a host and its client know of each other.
type stream struct {
	session  string
	host     *replica
	token    uint64 // that the host gave to the client
	given    []uint64
	ackedAt  uint64
	resuming uint64
	answers  []logAnswer
}

type logAnswer struct {
	token, seq, index uint64
	result            *internalv1.CommandResult
}

// seal is a generation of changes that belongs to a checkpoint.
type seal struct {
	n    uint64
	pos  int
	upto [2]int
}

// frame was sent and is not acknowledged.
type frame struct {
	seq       uint64
	ready     uint64 // of a Ready: the checkpoint
	pos       int
	keys      []int
	from, end [2]int
	vals      [2][]int
}

const modelWindow = 3

// renew is the death of a process: a new one without memory takes its place.
func (p *process) renew() {
	p.lives++
	*p = process{w: p.w, name: p.name, lives: p.lives, instance: fmt.Sprintf("%s.%d", p.name, p.lives), subtask: p.subtask}
}

// drop makes the slot a standby.
func (p *process) drop() {
	*p = process{w: p.w, name: p.name, lives: p.lives, instance: p.instance, subtask: p.subtask, stream: p.stream}
}

// step does one thing that the process, or the host of its stream, may do now.
func (p *process) step() {
	r := p.w.r
	if p.stream == nil {
		if rapid.IntRange(0, 9).Draw(r, "dies") == 0 {
			p.renew()
			return
		}
		p.connect(p.w.hosts[rapid.IntRange(0, 1).Draw(r, "to host")])
		return
	}
	switch rapid.IntRange(0, 11).Draw(r, "does") {
	case 0:
		p.stream = nil // it breaks
		if rapid.IntRange(0, 3).Draw(r, "dies") == 0 {
			p.renew()
		}
	case 1, 2, 3:
		p.look()
	case 4, 5:
		p.answer(rapid.IntRange(0, len(p.stream.answers)).Draw(r, "answers"))
	case 6, 7, 8:
		p.record()
	case 9, 10:
		p.flush(rapid.Bool().Draw(r, "all keys"))
	case 11:
		if p.token != 0 && rapid.IntRange(0, 3).Draw(r, "fails") == 0 {
			p.w.propose("Fail", &internalv1.FailSubtask{SubtaskId: uint64(p.subtask + 1), FencingToken: p.token,
				FailureClass: holdfastv1.FailureClass_FAILURE_CLASS_USER, Error: &holdfastv1.Error{Message: "boom"}})
			p.drop()
			p.stream.token = 0
		}
	}
}

// connect opens a stream and says Hello; with an attempt it asks to resume, and
// the host asks its own state first.
func (p *process) connect(h *replica) {
	p.w.sessions++
	p.stream = &stream{session: fmt.Sprint("s", p.w.sessions), host: h, resuming: p.attempt}
	p.token = 0
	p.askResume()
}

func (p *process) askResume() {
	if p.stream.resuming == 0 {
		return
	}
	p.stream.host.f.read(func(m *coordinator.Machine, _ *keyed.Store) {
		if p.stream.host.f.lastIndex < p.stream.resuming {
			return // it waits until it has applied the attempt
		}
		v, _ := m.SubtaskOfInstance(modelJob, p.instance)
		if v.Attempt != p.stream.resuming || v.Refusal != nil {
			p.drop() // Fenced, of another attempt
			p.stream.resuming = 0
			return
		}
		p.w.propose("Resume", &internalv1.ResumeSubtask{SubtaskId: v.ID, Attempt: v.Attempt, ExpectedToken: v.Token,
			InstanceId: p.instance, NodeId: p.stream.host.name, SessionId: p.stream.session})
	})
}

// look is the host comparing what its state says with what it told the client.
func (p *process) look() {
	s := p.stream
	s.host.f.read(func(m *coordinator.Machine, k *keyed.Store) {
		v, holds := m.SubtaskOfSession(s.session)
		switch {
		case !holds && s.token != 0:
			p.drop() // Revoke, or Refused
			s.token = 0
			return
		case !holds && s.resuming != 0:
			p.askResume()
			return
		case !holds:
			return
		case v.Token != s.token && !slices.Contains(s.given, v.Token):
			p.begin(m, k, v)
			return
		}
		p.outcomes(v)
	})
}

// begin takes a new token: of the attempt that goes on, or of another one.
func (p *process) begin(m *coordinator.Machine, k *keyed.Store, v coordinator.SubtaskView) {
	s := p.stream
	s.token, s.ackedAt = v.Token, v.Token
	s.given = append(s.given, v.Token)
	if s.resuming != 0 && v.Attempt == s.resuming {
		s.resuming = 0
		p.token = v.Token
		p.ackThrough(v.LastSeq)
		for _, fr := range p.out {
			p.send(fr)
		}
		return
	}
	s.resuming = 0
	p.drop()
	p.attempt, p.token = v.Attempt, v.Token
	if v.Refusal != nil {
		p.drop()
		s.token = 0
		return
	}
	a := m.AssignFrame(v.ID)
	if o := a.Splits[0].StartOffset; o != nil {
		p.pos = int(*o)
		for key, list := range fold(p.w.records[p.subtask], p.pos) {
			p.vals[key] = list
		}
	} else {
		// Without checkpoints the state stays and reading begins where it is now:
		// after everything that anyone has read.
		p.pos = min(p.w.read[p.subtask]+rapid.IntRange(0, 1).Draw(p.w.r, "skipped"), len(p.w.records[p.subtask]))
		p.w.read[p.subtask] = p.pos
		for key := range p.vals {
			p.vals[key] = p.w.stored(k, p.subtask, 0, key)
		}
	}
	for key := range p.vals {
		p.flushed[key] = len(p.vals[key])
	}
}

// outcomes are barriers and aborted checkpoints that the client has not seen.
func (p *process) outcomes(v coordinator.SubtaskView) {
	if p.token == 0 || v.Token != p.token {
		return
	}
	if p.seal != nil && v.LastAborted == p.seal.n {
		p.seal = nil
	}
	if v.Pending != nil && v.Pending.ID > p.bar {
		p.bar = v.Pending.ID
		p.seal = &seal{n: p.bar, pos: p.pos, upto: [2]int{len(p.vals[0]), len(p.vals[1])}}
	}
}

// answer gives the client one of the answers that the log made to its frames.
func (p *process) answer(i int) {
	s := p.stream
	if i >= len(s.answers) {
		return
	}
	a := s.answers[i]
	if a.token != s.token || s.token == 0 {
		return // the host drops what is of another token
	}
	s.ackedAt = max(s.ackedAt, a.index)
	switch e := a.result.Error; {
	case e == nil:
		if p.token == a.token {
			p.ackThrough(max(a.seq, a.result.LastSeq))
		}
	case e.Reason == holdfastv1.ErrorReason_ERROR_REASON_FENCED:
		s.token = 0
		if a.result.Attempt == p.attempt {
			p.stream = nil // its own attempt: it keeps all and says Hello.resume
			return
		}
		p.drop()
	case e.Reason == holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP:
		// Sent again by the node: the proposal is still under way.
	default:
		p.drop() // Refused
		s.token = 0
	}
}

func (p *process) ackThrough(seq uint64) {
	for len(p.out) > 0 && p.out[0].seq <= seq {
		p.w.acknowledged(p, p.out[0])
		p.out = p.out[1:]
	}
}

// record processes the next record. Without checkpoints it is flushed at once.
func (p *process) record() {
	recs := p.w.records[p.subtask]
	if p.token == 0 || p.pos >= len(recs) || !p.w.checkpoints && len(p.out) >= modelWindow {
		return
	}
	key := recs[p.pos]
	p.vals[key] = append(slices.Clip(p.vals[key]), p.pos)
	p.pos++
	if !p.w.checkpoints {
		p.w.read[p.subtask] = max(p.w.read[p.subtask], p.pos)
		p.put([2]int{len(p.vals[0]), len(p.vals[1])}, []int{0, 1})
	}
}

// flush sends a frame: of the sealed generation until Ready, else of all that is
// dirty.
func (p *process) flush(all bool) {
	if p.token == 0 || len(p.out) >= modelWindow {
		return
	}
	upto := [2]int{len(p.vals[0]), len(p.vals[1])}
	if p.seal != nil {
		upto = p.seal.upto
	}
	var keys []int
	for key := range upto {
		if p.flushed[key] < upto[key] && (all || len(keys) == 0) {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		p.put(upto, keys)
		return
	}
	if p.seal != nil {
		p.seq++
		fr := frame{seq: p.seq, ready: p.seal.n, pos: p.seal.pos}
		p.seal = nil
		p.out = append(p.out, fr)
		p.send(fr)
	}
}

// put sends what is dirty of some keys.
func (p *process) put(upto [2]int, keys []int) {
	fr := frame{from: p.flushed}
	for _, key := range keys {
		if p.flushed[key] == upto[key] {
			continue
		}
		fr.keys = append(fr.keys, key)
		fr.end[key] = upto[key]
		fr.vals[key] = p.vals[key][:upto[key]]
		p.flushed[key] = upto[key]
	}
	if len(fr.keys) == 0 {
		return
	}
	p.seq++
	fr.seq = p.seq
	p.out = append(p.out, fr)
	p.send(fr)
}

// send puts a frame under way, under the token of now.
func (p *process) send(fr frame) {
	id := uint64(p.subtask + 1)
	pr := underWay{stream: p.stream, token: p.token, seq: fr.seq}
	if fr.ready != 0 {
		pr.what = fmt.Sprintf("Ready(%d)", fr.ready)
		pr.cmd = p.w.command(&internalv1.Ready{SubtaskId: id, FencingToken: p.token, Seq: fr.seq, CheckpointId: fr.ready,
			Positions: []*holdfastv1.Position{{Topic: "t", Partition: uint32(p.subtask), NextOffset: int64(fr.pos)}}})
	} else {
		pr.what = "Flush"
		pr.cmd = p.w.command(&internalv1.Flush{SubtaskId: id, FencingToken: p.token, Seq: fr.seq, Sections: []*holdfastv1.FlushSection{p.section(fr)}})
	}
	p.w.net = append(p.w.net, pr)
}

func (p *process) section(fr frame) *holdfastv1.FlushSection {
	sec := &holdfastv1.FlushSection{StateId: 1, KeyGroup: p.w.group(p.subtask)}
	for _, key := range fr.keys {
		op, value := keyed.OpPut, asBytes(fr.vals[key])
		if p.w.add {
			op, value = keyed.OpAdd, binary.LittleEndian.AppendUint64(nil, asSum(fr.vals[key][fr.from[key]:]))
		}
		sec.Ops = append(sec.Ops, op)
		sec.KeyLengths = append(sec.KeyLengths, 1)
		sec.Keys = append(sec.Keys, keyName(key))
		sec.ValueLengths = append(sec.ValueLengths, uint32(len(value)))
		sec.Values = append(sec.Values, value...)
	}
	return sec
}

func keyName(key int) byte { return "ab"[key] }

// group is the key group of a subtask's only partition.
func (w *world) group(subtask int) *uint32 {
	if w.subtasks == 1 {
		return nil
	}
	g := uint32(subtask)
	return &g
}
