package stateserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// outgoingQueue bounds what waits for a client that reads slowly; a stream that
// does not read ends.
const outgoingQueue = 1024

// tokensKept is how many old tokens of a stream are remembered, so that late
// frames are told from invented ones.
const tokensKept = 64

// session is one operator stream on this host.
//
// Three goroutines serve it: recv reads and judges frames, follow turns facts
// of this node's state into messages, send writes. They share what mu guards.
type session struct {
	s      *Server
	log    *slog.Logger
	id     string
	hello  *holdfastv1.Hello
	jobID  string
	limits *holdfastv1.Limits

	ctx    context.Context
	cancel context.CancelCauseFunc
	out    chan *holdfastv1.HostMessage
	values chan *holdfastv1.HostMessage // large answers, one at a time
	pokes  chan struct{}
	gets   chan *getCall
	// getBytes is the size of what waits in gets.
	getBytes atomic.Int64

	mu     sync.Mutex
	silent int // beats of follow since something was heard
	hold   held
	// tokens are those that this stream was given, newest last.
	tokens []uint64
	// sentHome: the client was asked to go where the state of its job is.
	sentHome bool
	// resuming is the attempt that Hello.resume named, until it is settled.
	resuming uint64
}

// held is the subtask that a stream holds.
type held struct {
	subtask        uint64 // 0: standby
	token, attempt uint64
	shape          shape
	ctx            context.Context // ends when the stream no longer holds it
	cancel         context.CancelFunc

	nextSeq uint64 // the seq that the next frame must have
	flying  window // frames that the client was not told of
	ackedAt uint64 // highest index of an answer to this stream

	barrier, completed, aborted uint64 // highest ids that were sent
	readied                     uint64 // highest id of a CheckpointReady, with a backend on hosts
	times                       barrierTimes

	// Of a backend on hosts: host has the working state, once it is open.
	host    *hosted
	opening bool
	gets    *getLoad
}

func newSession(ctx context.Context, s *Server, hello *holdfastv1.Hello) *session {
	ctx, cancel := context.WithCancelCause(ctx)
	x := &session{
		s: s, id: randomID(), hello: hello, jobID: hello.JobId, limits: limits(), ctx: ctx, cancel: cancel,
		out: make(chan *holdfastv1.HostMessage, outgoingQueue), values: make(chan *holdfastv1.HostMessage), pokes: make(chan struct{}, 1),
		gets: make(chan *getCall, maxGetsOpen),
	}
	x.log = s.log.With("session", x.id[:8], "job", x.jobID, "instance", hello.InstanceId)
	return x
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (x *session) describe() *internalv1.OperatorStream {
	return &internalv1.OperatorStream{
		SessionId: x.id, JobId: x.jobID, OperatorUids: x.hello.OperatorUids,
		InstanceId: x.hello.InstanceId, ProcessId: x.hello.ProcessId,
	}
}

func (x *session) holds() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hold.subtask != 0
}

// poke makes follow look at the state again.
func (x *session) poke() {
	select {
	case x.pokes <- struct{}{}:
	default:
	}
}

// end ends the stream with a cause; the first one counts.
func (x *session) end(cause error) { x.cancel(cause) }

func (x *session) fail(e *holdfastv1.Error) { x.end(toStatus(e)) }

// push queues a message down.
func (x *session) push(m *holdfastv1.HostMessage) {
	select {
	case x.out <- m:
	case <-x.ctx.Done():
	default:
		x.fail(overloaded(fmt.Sprintf("the client does not read its stream: %d messages wait for it; it must read in a thread of its own (rule 3.4 of docs/protocol.md)", outgoingQueue)))
	}
}

func (x *session) goAway() {
	x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_GoAway{GoAway: &holdfastv1.GoAway{
		Reason: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, "the node is draining; go on at another one"),
	}}})
}

// take makes the stream hold an attempt. The caller holds mu.
func (x *session) take(f facts, nextSeq uint64) {
	x.drop()
	v := f.subtask
	ctx, cancel := context.WithCancel(x.ctx)
	x.hold = held{
		subtask: v.ID, token: v.Token, attempt: v.Attempt, shape: shapeOf(f.assign).with(raftstore.SpaceConfig(f.space)), ctx: ctx, cancel: cancel,
		nextSeq: nextSeq, flying: window{acked: nextSeq - 1}, ackedAt: v.Token, completed: v.LatestCompleted, aborted: v.LastAborted,
	}
	x.hold.shape.operatorStates = f.operatorStates
	x.tokens = append(x.tokens, v.Token)
	if len(x.tokens) > tokensKept {
		x.tokens = x.tokens[1:]
	}
}

// drop makes the stream a standby. Proposals under way are given up: if they
// were applied, the log has judged them by their token. The caller holds mu.
func (x *session) drop() {
	if x.hold.cancel != nil {
		x.hold.cancel()
	}
	if h, token := x.hold.host, x.hold.token; h != nil {
		go x.s.states.letGo(h, token) // it waits for the frame in hand, which may wait for mu
	}
	x.hold = held{}
}

// current tells whether a frame is of the attempt that the stream holds. One
// with an older token of this stream is late and dropped; one with a token
// that was never given out, or is not remembered any more, ends the stream. The
// caller holds mu.
func (x *session) current(token uint64, frame string) bool {
	if x.hold.subtask != 0 && token == x.hold.token {
		return true
	}
	for _, t := range x.tokens {
		if t == token {
			x.s.metrics.lateFrame(frame)
			return false
		}
	}
	x.fail(violation("3.8", fmt.Sprintf("%s: %s, %d", frame, x.unknownToken(token), token)))
	return false
}

// unknownToken says what is wrong with a token that is not remembered. The caller
// holds mu.
func (x *session) unknownToken(token uint64) string {
	if len(x.tokens) == tokensKept && token < x.tokens[0] {
		return fmt.Sprintf("only the %d newest fencing tokens of a stream are remembered, and its own is older", tokensKept)
	}
	return "this stream was never given its fencing token"
}

// window takes room for a frame with a seq. Size is what the client counts at least:
// keys, values and overhead of a flush, the operator state of other frames. The caller
// holds mu.
func (x *session) window(seq uint64, size int, frame string) bool {
	h := &x.hold
	switch {
	case seq != h.nextSeq:
		x.fail(violation("5.4", fmt.Sprintf("%s: seq %d, and %d is next on this stream", frame, seq, h.nextSeq)))
		return false
	case h.flying.count() >= int(x.limits.FlushesInFlight) || h.flying.count() > 0 && h.flying.bytes+size > int(x.limits.FlushBytesInFlight):
		x.fail(violation("5.4", fmt.Sprintf("%s seq %d: %d frames with %d bytes are in flight already, at most %d and %d are allowed; wait for FlushAck",
			frame, seq, h.flying.count(), h.flying.bytes, x.limits.FlushesInFlight, x.limits.FlushBytesInFlight)))
		return false
	}
	h.nextSeq++
	h.flying.add(size)
	return true
}

// proposeFrame puts a frame with a seq into the log, in the order of the
// stream, and answers it.
func (x *session) proposeFrame(h held, seq uint64, c *internalv1.Command) {
	b, err := proto.Marshal(c)
	if err != nil {
		x.fail(fromStore(err))
		return
	}
	came := time.Now()
	x.s.fwd.submit(h.ctx, b, func(a answer) {
		if a.err == nil {
			x.s.metrics.flushAnswered(came)
		}
		x.answered(h, seq, a, c.GetFinish() != nil)
	})
}

// answered tells the client what became of a frame. The entry of a refused flush also
// ends the attempt; that of a refused end leaves it, so it is failed by another.
func (x *session) answered(h held, seq uint64, a answer, end bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	token := h.token
	if x.hold.subtask == 0 || x.hold.token != token {
		return
	}
	if a.err != nil {
		if a.err.Reason != holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT {
			x.fail(a.err)
		}
		return
	}
	x.hold.ackedAt = max(x.hold.ackedAt, a.index)
	switch e := a.result.Error; {
	case e == nil:
		through := max(seq, a.result.LastSeq)
		x.hold.flying.ackThrough(through)
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_FlushAck{FlushAck: &holdfastv1.FlushAck{
			FencingToken: token, ThroughSeq: through}}})
	case e.Reason == holdfastv1.ErrorReason_ERROR_REASON_FENCED:
		x.push(fencedMessage(a.result.FencingToken, a.result.Attempt))
		x.drop()
	case end && e.Reason != holdfastv1.ErrorReason_ERROR_REASON_ATTEMPT_REFUSED:
		x.refuse(h, seq, e)
	default:
		x.log.Error("a flush was refused", "token", token, "seq", seq, "reason", coordinator.ReasonName(e.Reason))
		x.push(&holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Refused{Refused: &holdfastv1.Refused{
			FencingToken: token, Seq: seq, Error: e}}})
		x.drop()
	}
}

func fencedMessage(token, attempt uint64) *holdfastv1.HostMessage {
	return &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Fenced{Fenced: &holdfastv1.Fenced{FencingToken: token, Attempt: attempt}}}
}

// view reads what the state says of this stream.
func (x *session) view(read func(m *coordinator.Machine)) {
	x.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) { read(m) })
}
