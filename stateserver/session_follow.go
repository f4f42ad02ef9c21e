package stateserver

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// facts are what this node's state says that concerns a stream, read at once.
type facts struct {
	jobStatus holdfastv1.JobStatus
	jobReason *holdfastv1.Error
	known     bool

	holds   bool
	subtask coordinator.SubtaskView
	assign  *holdfastv1.Assign
	space   coordinator.Space
	// operatorStates are declared by the chain; restored is what an attempt begins with
	// of them.
	operatorStates []coordinator.DeclaredOperatorState
	restored       []*holdfastv1.RestoredOperatorState

	// home is where a standby of the job should rather be.
	home string

	discover []string
	resolve  bool
}

// follow turns facts into messages until the stream ends. It looks at the state
// as a whole each time, so no event can be missed.
func (x *session) follow() {
	changes, stop := x.s.store.Watch(x.jobID)
	defer stop()
	beat := time.NewTicker(max(x.s.cfg.SessionTimeout/beatsOfSilence, time.Millisecond))
	defer beat.Stop()
	for {
		x.look()
		select {
		case <-changes:
		case <-x.pokes:
		case <-beat.C:
			x.checkHeard()
		case <-x.ctx.Done():
			return
		}
	}
}

// beatsOfSilence make up the session timeout. Beats are counted instead of reading
// a clock, so that a host that was stopped and goes on (SIGSTOP, a suspended
// machine) does not take its own sleep for the silence of its clients.
const beatsOfSilence = 8

func (x *session) checkHeard() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.silent++; x.silent > beatsOfSilence {
		x.log.Warn("no heartbeat for the session timeout; ending the stream")
		x.fail(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST, fmt.Sprintf(
			"no heartbeat came for the session timeout of %s; send one every %s from a thread that user code cannot block (rule 3.3 of docs/protocol.md)", x.s.cfg.SessionTimeout, x.s.cfg.HeartbeatInterval)))
	}
	if e := x.s.unfit(); e != nil {
		x.log.Warn("this node cannot serve operators now; ending the stream", "why", e.Message)
		x.fail(e)
	}
}

func (x *session) read() (f facts) {
	x.view(func(m *coordinator.Machine) {
		f.jobStatus, f.jobReason, f.known = m.JobStatusOf(x.jobID)
		f.subtask, f.holds = m.SubtaskOfSession(x.id)
		if f.holds {
			f.assign = m.AssignFrame(f.subtask.ID)
			f.space, _ = m.SpaceOf(f.subtask.ID)
			f.operatorStates = m.OperatorStatesOf(f.subtask.ID)
		}
		if !f.holds {
			f.home, _ = m.HomeElsewhere(x.jobID, x.s.store.ID(), x.hello.OperatorUids)
		}
		f.discover, f.resolve = m.Undiscovered(x.jobID)
	})
	return f
}

// look compares the facts with what the client was told, and tells the rest.
func (x *session) look() {
	f := x.read()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !f.known || coordinator.Ended(f.jobStatus) {
		x.jobEnded(f)
		return
	}
	x.follows(f)
	if !f.holds && x.hold.subtask == 0 && x.resuming != 0 {
		// The attempt was resumed and taken away again before anyone looked.
		x.push(fencedMessage(0, 0))
		x.resuming = 0
	}
	if x.hold.subtask == 0 {
		x.askForSplits(f)
		x.goHome(f)
		return
	}
	if x.hold.opening {
		return // the client is told of nothing before Assign
	}
	if h := x.hold.host; h != nil && f.subtask.Token == x.hold.token {
		h.decided(pendingID(f.subtask))
	}
	x.tellOutcomes(f.subtask)
}

func (x *session) jobEnded(f facts) {
	if x.hold.subtask != 0 {
		var v coordinator.SubtaskView
		x.view(func(m *coordinator.Machine) { v, _ = m.Subtask(x.hold.subtask) })
		if x.finished(v) {
			x.ackThrough(x.lastSeq(v))
		}
	}
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_JobEnded{JobEnded: &holdfastv1.JobEnded{Status: f.jobStatus, Reason: f.jobReason}}})
	x.drop()
	x.end(errJobEnded)
}

// follows makes the stream hold what the state says it holds.
func (x *session) follows(f facts) {
	switch {
	case !f.holds && x.hold.subtask != 0:
		x.revoke(f)
	case f.holds && f.subtask.Token != x.hold.token && !slices.Contains(x.tokens, f.subtask.Token):
		x.begin(f)
	}
}

// revoke tells that the subtask is gone. A refused flush, and the Finished of a
// subtask, take it away by their own entry: then the client is told of that,
// whether its answer or this comes first.
func (x *session) revoke(f facts) {
	var v coordinator.SubtaskView
	x.view(func(m *coordinator.Machine) { v, _ = m.Subtask(x.hold.subtask) })
	same := v.Attempt == x.hold.attempt
	switch {
	case same && v.Refusal != nil:
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Refused{Refused: &holdfastv1.Refused{
			FencingToken: x.hold.token, Seq: v.LastSeq + 1, Error: v.Refusal}}})
	case x.finished(v):
		x.ackThrough(x.lastSeq(v))
	default:
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Revoke{Revoke: &holdfastv1.Revoke{FencingToken: x.hold.token, Reason: f.jobReason}}})
	}
	x.drop()
}

func resumeMessage(v coordinator.SubtaskView) *holdfastv1.HostMessage {
	return &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Resume{Resume: &holdfastv1.Resume{
		FencingToken: v.Token, Attempt: v.Attempt, LastSeq: v.LastSeq, LatestCompletedId: v.LatestCompleted}}}
}

// finished tells whether the attempt that the stream holds has finished.
func (x *session) finished(v coordinator.SubtaskView) bool {
	return v.Attempt == x.hold.attempt && v.Status == holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED
}

// lastSeq is the seq of Finished where the subtask has finished: of a backend on
// hosts the log knows no seqs.
func (x *session) lastSeq(v coordinator.SubtaskView) uint64 {
	if x.hold.host != nil {
		return x.hold.nextSeq - 1
	}
	return v.LastSeq
}

func (x *session) ackThrough(seq uint64) {
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_FlushAck{FlushAck: &holdfastv1.FlushAck{FencingToken: x.hold.token, ThroughSeq: seq}}})
}

// begin tells of a new token: a resume of the attempt that Hello named, or an
// assignment.
func (x *session) begin(f facts) {
	v := f.subtask
	switch {
	case v.OnHost:
		x.take(f, 1)
		x.openState(f)
	case v.Loading:
		x.take(f, 1)
		x.loadState(f)
	case x.resuming != 0 && v.Attempt == x.resuming:
		x.take(f, v.LastSeq+1)
		// Told again: a client that stands still until its checkpoint is decided
		// (rule 6.8) may have missed it with the stream.
		x.hold.aborted = 0
		x.push(resumeMessage(v))
		x.log.Info("resumed", "token", v.Token, "attempt", v.Attempt, "last_seq", v.LastSeq)
	case len(f.operatorStates) > 0:
		x.take(f, 1)
		x.loadOperatorState(f)
	default:
		x.take(f, 1)
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Assign{Assign: f.assign}})
		x.log.Info("assigned", "token", v.Token, "subtask", f.assign.SubtaskIndex, "restored_checkpoint", f.assign.RestoredCheckpointId)
	}
	x.resuming = 0
	if v.Refusal != nil {
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Refused{Refused: &holdfastv1.Refused{
			FencingToken: v.Token, Seq: v.LastSeq + 1, Error: v.Refusal}}})
		x.drop()
	}
}

// tellOutcomes sends barriers and outcomes that the client has not seen. An
// older outcome goes before a newer barrier.
func (x *session) tellOutcomes(v coordinator.SubtaskView) {
	h := &x.hold
	if v.Token != h.token {
		return
	}
	if v.LastAborted > h.aborted {
		h.aborted = v.LastAborted
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_CheckpointAborted{CheckpointAborted: &holdfastv1.CheckpointAborted{
			FencingToken: h.token, CheckpointId: v.LastAborted, Reason: v.AbortedReason}}})
	}
	if v.LatestCompleted > h.completed {
		h.completed = v.LatestCompleted
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_CheckpointComplete{CheckpointComplete: &holdfastv1.CheckpointComplete{
			FencingToken: h.token, CheckpointId: v.LatestCompleted}}})
	}
	if v.Pending != nil && v.Pending.ID > h.barrier {
		h.barrier = v.Pending.ID
		h.times.barrierSent(v.Pending.ID, v.Pending.TriggeredMs, x.s.clock.now())
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Barrier{Barrier: &holdfastv1.Barrier{
			FencingToken: h.token, CheckpointId: v.Pending.ID, BaseCheckpointId: v.Pending.Base, TimestampMs: v.Pending.TriggeredMs,
			Kind: v.Pending.Kind, Then: v.Pending.Then}}})
	}
}

// askForSplits asks this client for the splits of sources that nobody has
// recorded, unless another stream of this host is asked already.
func (x *session) askForSplits(f facts) {
	for _, uid := range f.discover {
		if slices.Contains(x.hello.OperatorUids, uid) && x.s.hosts.claim(x, uid) {
			x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_DiscoverSplits{DiscoverSplits: &holdfastv1.DiscoverSplits{
				OperatorUid: uid, ResolveOffsets: f.resolve}}})
		}
	}
}
