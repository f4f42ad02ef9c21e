package stateserver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/version"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// recv reads the stream until it ends. It never waits for the log.
func (x *session) recv(stream holdfastv1.OperatorService_RunServer) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			x.end(nil)
			return
		}
		if err != nil {
			x.end(err)
			return
		}
		x.mu.Lock()
		x.silent = 0
		x.handle(m)
		x.mu.Unlock()
		if x.ctx.Err() != nil {
			return
		}
	}
}

// handle judges one message. The caller holds mu.
func (x *session) handle(m *holdfastv1.OperatorMessage) {
	switch f := m.GetMessage().(type) {
	case *holdfastv1.OperatorMessage_Heartbeat:
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_HeartbeatEcho{HeartbeatEcho: &holdfastv1.HeartbeatEcho{Sequence: f.Heartbeat.GetSequence()}}})
	case *holdfastv1.OperatorMessage_Flush:
		x.onFlush(f.Flush)
	case *holdfastv1.OperatorMessage_Get:
		x.onGet(f.Get)
	case *holdfastv1.OperatorMessage_BarrierPassed:
		// The cut of the output; while no output goes through the host it is only timed.
		if x.current(f.BarrierPassed.GetFencingToken(), "BarrierPassed") {
			x.hold.times.barrierPassed(f.BarrierPassed.GetCheckpointId(), x.s.clock.now())
		}
	case *holdfastv1.OperatorMessage_CheckpointReady:
		x.onReady(f.CheckpointReady)
	case *holdfastv1.OperatorMessage_Finished:
		x.onFinished(f.Finished)
	case *holdfastv1.OperatorMessage_Failed:
		x.onFailed(f.Failed)
	case *holdfastv1.OperatorMessage_SplitsFound:
		x.onSplitsFound(f.SplitsFound)
	case *holdfastv1.OperatorMessage_Hello:
		x.fail(violation("3.1", "Hello: only the first message of a stream may be one"))
	default:
		x.fail(violation("3.7", "a message of a kind that this node (version "+version.Version+") does not know"))
	}
}

func (x *session) onFlush(f *holdfastv1.Flush) {
	if !x.current(f.FencingToken, "Flush") {
		return
	}
	size, e := x.hold.shape.checkFlush(f, x.limits)
	if e != nil {
		x.fail(e)
		return
	}
	if !x.window(f.Seq, size, "Flush") {
		return
	}
	if x.hold.host != nil {
		x.flushOnHost(f)
		return
	}
	x.proposeFrame(x.hold, f.Seq, &internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
		SubtaskId: x.hold.subtask, FencingToken: f.FencingToken, Seq: f.Seq, Sections: f.Sections,
		TimeMs: x.s.clock.now().UnixMilli(),
	}}})
}

func (x *session) onReady(f *holdfastv1.CheckpointReady) {
	if !x.current(f.FencingToken, "CheckpointReady") {
		return
	}
	if e := x.hold.shape.checkPositions("CheckpointReady", f.Positions); e != nil {
		x.fail(e)
		return
	}
	state, e := x.takeOperatorState("CheckpointReady", f.OperatorStates, f.Declined)
	if e != nil {
		x.fail(e)
		return
	}
	if !x.window(f.Seq, coordinator.OperatorStateBytes(f.OperatorStates), "CheckpointReady") {
		return
	}
	if x.hold.host != nil {
		x.readyOnHost(f, state)
		return
	}
	now := x.s.clock.now()
	r := &internalv1.Ready{
		SubtaskId: x.hold.subtask, FencingToken: f.FencingToken, Seq: f.Seq, CheckpointId: f.CheckpointId,
		Positions: f.Positions, TimeMs: now.UnixMilli(), Times: x.hold.times.ready(f.CheckpointId, now),
	}
	state.putInto(r)
	x.proposeFrame(x.hold, f.Seq, &internalv1.Command{Command: &internalv1.Command_Ready{Ready: r}})
}

func (x *session) onFinished(f *holdfastv1.Finished) {
	if !x.current(f.FencingToken, "Finished") {
		return
	}
	if e := x.hold.shape.checkPositions("Finished", f.Positions); e != nil {
		x.fail(e)
		return
	}
	state, e := x.takeOperatorState("Finished", f.OperatorStates, nil)
	if e != nil {
		x.fail(e)
		return
	}
	if !x.window(f.Seq, coordinator.OperatorStateBytes(f.OperatorStates), "Finished") {
		return
	}
	if x.hold.host != nil && state.declined == nil {
		x.finishOnHost(f, state)
		return
	}
	end := &internalv1.Finish{
		SubtaskId: x.hold.subtask, FencingToken: f.FencingToken, Seq: f.Seq, Positions: f.Positions, TimeMs: x.s.clock.now().UnixMilli(),
		Handles: state.handles(),
	}
	e = state.declined
	if e == nil {
		e = fitsEntry(end)
	}
	if e != nil {
		// The client would send it again on its next stream, for ever.
		x.refuse(x.hold, f.Seq, e)
		return
	}
	x.proposeFrame(x.hold, f.Seq, &internalv1.Command{Command: &internalv1.Command_Finish{Finish: end}})
}

// onFailed reports the failure under the server's context: the client has
// stopped the attempt, and its stream may end before the log answers.
func (x *session) onFailed(f *holdfastv1.Failed) {
	if !x.current(f.FencingToken, "Failed") {
		return
	}
	if f.Error == nil || f.FailureClass == holdfastv1.FailureClass_FAILURE_CLASS_UNSPECIFIED {
		x.fail(violation("8.1", "Failed: error and failure_class must be set"))
		return
	}
	// Not its message: it is the program's, and may hold anything.
	x.log.Warn("an attempt failed", "token", f.FencingToken, "class", f.FailureClass.String(), "reason", coordinator.ReasonName(f.Error.Reason))
	x.submit(&internalv1.Command{Command: &internalv1.Command_FailSubtask{FailSubtask: &internalv1.FailSubtask{
		SubtaskId: x.hold.subtask, FencingToken: f.FencingToken, FailureClass: f.FailureClass, Error: clip(f.Error),
		TimeMs: x.s.clock.now().UnixMilli(), Jitter: jitter(),
	}}})
}

// onSplitsFound takes the answer to a question that this stream was asked. Another
// one is late (its stream broke) and is dropped.
func (x *session) onSplitsFound(f *holdfastv1.SplitsFound) {
	if !x.s.hosts.answered(x, f.OperatorUid) {
		x.log.Debug("splits that this stream was not asked for")
		return
	}
	if n := proto.Size(f); n > raftstore.MaxPayload-commandOverheadBytes {
		f = &holdfastv1.SplitsFound{OperatorUid: f.OperatorUid, Error: tooLarge(fmt.Sprintf(
			"the splits of source %q take %d bytes, at most %d are allowed; read fewer partitions", f.OperatorUid, n, raftstore.MaxPayload-commandOverheadBytes))}
	}
	x.submit(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
		JobId: x.jobID, OperatorUid: f.OperatorUid, Splits: f.Splits, Error: clip(f.Error), TimeMs: x.s.clock.now().UnixMilli(),
	}}})
}

// submit proposes a command that outlives the stream.
func (x *session) submit(c *internalv1.Command) {
	b, err := proto.Marshal(c)
	if err != nil {
		x.fail(fromStore(err))
		return
	}
	x.s.fwd.submit(x.s.ctx, b, func(a answer) {
		if a.err != nil && x.s.ctx.Err() == nil {
			x.fail(a.err)
		}
	})
}

// clip bounds an error that a client wrote, since it is kept in the log.
func clip(e *holdfastv1.Error) *holdfastv1.Error {
	const maxText, maxValue, maxPairs = 8 << 10, 16 << 10, 32
	if e == nil {
		return nil
	}
	out := &holdfastv1.Error{Reason: e.Reason, Message: cut(e.Message, maxText), Outcome: e.Outcome, Metadata: map[string]string{}}
	room := maxPairs * maxText / 2
	for _, k := range slices.Sorted(maps.Keys(e.Metadata)) {
		v := cut(e.Metadata[k], maxValue)
		if len(k) <= maxIDBytes && len(out.Metadata) < maxPairs && len(v) <= room {
			out.Metadata[k] = v
			room -= len(v)
		}
	}
	return out
}
