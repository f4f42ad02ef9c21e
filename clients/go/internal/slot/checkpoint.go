package slot

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// seal is the cut of a checkpoint that is not yet flushed as a whole.
type seal struct {
	checkpoint uint64
	positions  []source.Position
	operator   operatorSnapshot
	// output are the marks of the sinks at the cut.
	output []mark
}

// commit is what may be published once its checkpoint is decided.
type commit struct {
	checkpoint uint64
	positions  []source.Position
}

// barrier makes the cut between two records (rules 6.1, 6.4 and 6.5). Output of
// the records before it leaves now: once the checkpoint is complete they are not
// read again (rule 6.2).
func (a *attempt) barrier(b *holdfastv1.Barrier) error {
	n := b.GetCheckpointId()
	if n <= a.lastBarrier || a.finished || a.failed || a.unresolved {
		return nil
	}
	operator := a.operatorSnapshot(n)
	if err := a.writeOutputs(); err != nil {
		return err
	}
	a.lastBarrier = n
	a.store.Seal()
	// What was being flushed is in the seal now.
	a.flushing = a.flushing && !a.checkpoints()
	a.dirtySince = time.Time{}
	a.seal = &seal{checkpoint: n, positions: slices.Clone(a.positions), operator: operator, output: a.markSinks(b.GetThen() > holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE)}
	a.halted = 0 // a newer barrier says what counts now
	if b.GetThen() > holdfastv1.BarrierThen_BARRIER_THEN_CONTINUE {
		a.halted = n
	}
	a.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_BarrierPassed{
		BarrierPassed: &holdfastv1.BarrierPassed{FencingToken: a.token, CheckpointId: n},
	}})
	a.pump()
	return nil
}

// ready follows the last flush of the seal, once the output before it is safe (rule
// 6.2). It takes its place in the window; false means that it may not go yet.
func (a *attempt) ready() bool {
	s := a.seal
	if !safe(s.output) {
		return false
	}
	seq := a.lastSeq + 1
	operator := a.operatorCut(s)
	m := &holdfastv1.OperatorMessage{
		Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: &holdfastv1.CheckpointReady{
			FencingToken: a.token, Seq: seq, CheckpointId: s.checkpoint, Positions: a.positionsProto(a.cut(s)),
			OperatorStates: operator.states, Declined: operator.declined,
		}},
	}
	size := proto.Size(m)
	if !a.windowOpen(size) {
		return false
	}
	a.seal = nil
	a.store.EndSeal()
	a.push(frame{seq: seq, bytes: size, message: m})
	a.commits = append(a.commits, commit{s.checkpoint, s.positions})
	return true
}

// aborted dissolves the seal of a checkpoint that will not be (rule 6.6).
func (a *attempt) aborted(n uint64) {
	if n >= a.halted {
		a.halted = 0 // outcomes come in order, and the newest may stand for those before
	}
	a.commits = slices.DeleteFunc(a.commits, func(c commit) bool { return c.checkpoint == n })
	if a.seal == nil || a.seal.checkpoint != n {
		return
	}
	a.seal = nil
	a.store.Dissolve()
}

// decided publishes the newest positions that checkpoint n covers (rule 6.7).
func (a *attempt) decided(n uint64) {
	i := 0
	for i < len(a.commits) && a.commits[i].checkpoint <= n {
		i++
	}
	if i == 0 {
		return
	}
	// An older checkpoint that was aborted is no harm: only the newest counts,
	// and of that one the id must be n, or it was not the one completed.
	last := a.commits[i-1]
	a.commits = a.commits[i:]
	if last.checkpoint == n {
		a.poller.commitForDisplay(last.positions)
	}
}

// finish follows the last flush of a bounded source (rule 8.2). Everything before
// it is acknowledged, so there is room in the window.
func (a *attempt) finish() error {
	operator := a.operatorSnapshot(0)
	if e := operator.declined; e != nil {
		return &failure{class: holdfastv1.FailureClass_FAILURE_CLASS_USER, reason: e.GetReason(), err: errors.New(e.GetMessage())}
	}
	a.finished = true
	seq := a.lastSeq + 1
	a.push(frame{seq: seq, message: &holdfastv1.OperatorMessage{
		Message: &holdfastv1.OperatorMessage_Finished{Finished: &holdfastv1.Finished{
			Seq: seq, Positions: a.positionsProto(a.positions), OperatorStates: operator.states,
		}},
	}})
	return nil
}

func (a *attempt) positionsProto(positions []source.Position) []*holdfastv1.Position {
	out := make([]*holdfastv1.Position, len(positions))
	for i, p := range positions {
		out[i] = &holdfastv1.Position{
			Topic: a.splits[i].Topic, Partition: a.splits[i].Partition,
			NextOffset: p.NextOffset, LeaderEpoch: p.LeaderEpoch,
		}
	}
	return out
}
