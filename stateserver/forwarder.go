package stateserver

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// retryDelay is how long a proposal that was not applied waits before it goes
// again.
const retryDelay = 20 * time.Millisecond

// answer is what became of a proposal: a result at an index, or the reason why
// nobody knows of one.
type answer struct {
	result *internalv1.CommandResult
	index  uint64
	err    *holdfastv1.Error
}

// proposal is a command on its way to the leader.
type proposal struct {
	id      uint64
	command []byte
	done    func(answer)
	stop    func() bool // ends the watch on its context
	// sent tells whether it was sent at all.
	sent bool
	// sentOn is the link it was last sent on; nil: it must be sent.
	sentOn link
}

// link carries proposals to one leader, in order. Answers come through
// forwarder.settle.
type link interface {
	send(id uint64, command []byte) error
	// broken is closed when nothing more will come of the link.
	broken() <-chan struct{}
	close()
}

// forwarder puts commands before the leader, whoever that is, until each is
// answered. Proposals keep their order: after a change of the leader all that
// are open go again, oldest first. Every command is judged by the log (by seq,
// token, id or content), so sending one twice does no harm.
type forwarder struct {
	// open makes a link to the leader; nil while there is none.
	open func(settle func(id uint64, a answer)) (leader string, l link)
	// leader names the current leader, empty if unknown.
	leader func() string
	// changes wakes up at changes of the leader.
	changes <-chan struct{}
	// resent counts proposals that are sent again; nil: nobody asks.
	resent prometheus.Counter

	mu     sync.Mutex
	next   uint64
	order  *list.List // of *proposal
	byID   map[uint64]*list.Element
	wakeup chan struct{}
}

func newForwarder(leader func() string, changes <-chan struct{}, open func(settle func(uint64, answer)) (string, link)) *forwarder {
	return &forwarder{
		open: open, leader: leader, changes: changes,
		order: list.New(), byID: map[uint64]*list.Element{}, wakeup: make(chan struct{}, 1),
	}
}

// submit queues a marshalled command. done is called once, from any goroutine:
// with the log's answer, or, when ctx ends first, with an error of outcome
// unknown.
func (f *forwarder) submit(ctx context.Context, command []byte, done func(answer)) {
	if len(command) > raftstore.MaxPayload {
		// It would block what comes after it for ever. The caller may hold locks.
		go done(answer{err: fromStore(raftstore.ErrCommandTooLarge)})
		return
	}
	f.mu.Lock()
	f.next++
	p := &proposal{id: f.next, command: command, done: done}
	f.byID[p.id] = f.order.PushBack(p)
	p.stop = context.AfterFunc(ctx, func() { f.settle(p.id, answer{err: fromStore(ctx.Err())}) })
	f.mu.Unlock()
	f.wake()
}

// do proposes a command and waits for its answer.
func (f *forwarder) do(ctx context.Context, c *internalv1.Command) (*internalv1.CommandResult, uint64, *holdfastv1.Error) {
	b, err := proto.Marshal(c)
	if err != nil {
		return nil, 0, fromStore(err)
	}
	got := make(chan answer, 1)
	f.submit(ctx, b, func(a answer) { got <- a })
	a := <-got
	if a.err != nil {
		return nil, 0, a.err
	}
	return a.result, a.index, a.result.GetError()
}

// size is the number of proposals without an answer.
func (f *forwarder) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order.Len()
}

func (f *forwarder) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// settle takes an answer. One that says "not applied, send again" puts the
// proposal back; any other ends it.
func (f *forwarder) settle(id uint64, a answer) {
	f.mu.Lock()
	e := f.byID[id]
	if e == nil {
		f.mu.Unlock()
		return
	}
	p := e.Value.(*proposal)
	if again(a) {
		p.sentOn = nil
		f.mu.Unlock()
		time.AfterFunc(retryDelay, f.wake)
		return
	}
	f.order.Remove(e)
	delete(f.byID, id)
	f.mu.Unlock()
	p.stop()
	p.done(a)
}

// again tells whether an answer leaves the proposal to be sent again.
func again(a answer) bool {
	if a.err == nil {
		return a.result.GetError().GetReason() == holdfastv1.ErrorReason_ERROR_REASON_SEQ_GAP
	}
	switch a.err.Reason {
	case holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT:
		return false // its own context ended
	case holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED:
		// The leader may not have applied yet what allows it; one that does not
		// know the command never will.
		return a.err.Outcome == holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	case holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE:
		return false
	}
	return true
}

// run forwards until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		leader, l := f.open(f.settle)
		if l == nil {
			f.pause(ctx)
			continue
		}
		f.serve(ctx, leader, l)
		l.close()
		f.unsend()
	}
}

// serve sends what is open on one link until it breaks or another node leads.
func (f *forwarder) serve(ctx context.Context, leader string, l link) {
	done := make(chan struct{})
	defer close(done)
	go f.cut(leader, l, done)
	for f.leader() == leader {
		if err := f.sendOpen(l); err != nil {
			f.pause(ctx)
			return
		}
		select {
		case <-f.wakeup:
		case <-f.changes:
		case <-l.broken():
			f.pause(ctx)
			return
		case <-ctx.Done():
			return
		}
	}
}

// cut closes a link when another node leads. A leader that is stopped or cut off
// reads nothing, so a send to it may wait for ever; only this ends it.
func (f *forwarder) cut(leader string, l link, done <-chan struct{}) {
	t := time.NewTicker(retryDelay)
	defer t.Stop()
	for f.leader() == leader {
		select {
		case <-t.C:
		case <-done:
			return
		}
	}
	l.close()
}

// sendOpen sends, oldest first, every proposal that is not under way on l.
func (f *forwarder) sendOpen(l link) error {
	f.mu.Lock()
	var batch []*proposal
	for e := f.order.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*proposal); p.sentOn != l {
			if p.sent && f.resent != nil {
				f.resent.Inc()
			}
			p.sentOn, p.sent = l, true
			batch = append(batch, p)
		}
	}
	f.mu.Unlock()
	for _, p := range batch {
		if err := l.send(p.id, p.command); err != nil {
			return errors.Join(errors.New("the link to the leader broke"), err)
		}
	}
	return nil
}

// unsend marks everything open as not under way.
func (f *forwarder) unsend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.order.Front(); e != nil; e = e.Next() {
		e.Value.(*proposal).sentOn = nil
	}
}

// pause waits for a change of the leader, a short while at most.
func (f *forwarder) pause(ctx context.Context) {
	t := time.NewTimer(retryDelay)
	defer t.Stop()
	select {
	case <-f.changes:
	case <-t.C:
	case <-ctx.Done():
	}
}
