package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Future is the outcome of one proposal. It is safe for concurrent use.
type Future interface {
	// Wait blocks until the outcome is known or ctx ends, and returns what the
	// state machine answered and the index of the entry. The same outcome is
	// returned each time.
	//
	// # Errors
	//
	// Ask [Outcome] for the class. ErrNotLeader, ErrOverloaded,
	// ErrCommandTooLarge and ErrInvalidCommand are not applied;
	// ErrLeadershipLost, ErrTimeout (ctx ended: the proposal goes on),
	// ErrAborted and ErrHalted are unknown; ErrShutdown is either.
	Wait(ctx context.Context) (result any, index uint64, err error)
	// Done is closed when the outcome is known.
	Done() <-chan struct{}
}

// proposal is one command on its way. It implements Future.
type proposal struct {
	ctx  context.Context // bounds the time in the queue only
	data []byte
	done chan struct{}
	once sync.Once

	result any
	index  uint64
	err    error
}

func newProposal(ctx context.Context, data []byte) *proposal {
	return &proposal{ctx: ctx, data: data, done: make(chan struct{})}
}

// failedProposal is one that never entered the queue.
func failedProposal(err error) *proposal {
	p := &proposal{done: make(chan struct{})}
	p.settle(nil, 0, err)
	return p
}

func (p *proposal) settle(result any, index uint64, err error) {
	p.once.Do(func() {
		p.result, p.index, p.err = result, index, err
		close(p.done)
	})
}

// Done implements Future.
func (p *proposal) Done() <-chan struct{} { return p.done }

// Wait implements Future.
func (p *proposal) Wait(ctx context.Context) (any, uint64, error) {
	select {
	case <-p.done:
		return p.result, p.index, p.err
	default:
	}
	select {
	case <-p.done:
		return p.result, p.index, p.err
	case <-ctx.Done():
		return nil, 0, timeoutError(ctx, "outcome of a proposal")
	}
}

// proposer is the bounded queue in front of Raft. Raft's own Apply blocks while
// its main loop writes to the disk, and bounds nothing that is in flight.
//
// One goroutine hands proposals over, so that the order of submit is the order
// in the log; one collects the outcomes in the same order.
type proposer struct {
	apply    func(data []byte) raft.ApplyFuture
	maxCount int
	maxBytes int64
	metrics  *metrics
	wake     chan struct{}
	handed   chan handedOver
	stop     chan struct{}

	mu      sync.Mutex
	queue   []*proposal
	open    map[*proposal]struct{} // queued or handed over, outcome unknown
	bytes   int64
	closed  bool
	drained chan struct{} // closed when closed and open is empty
}

type handedOver struct {
	p  *proposal
	f  raft.ApplyFuture
	at time.Time
}

func newProposer(cfg Config, m *metrics, apply func([]byte) raft.ApplyFuture) *proposer {
	q := &proposer{
		apply: apply, maxCount: cfg.MaxPending, maxBytes: cfg.MaxPendingBytes, metrics: m,
		wake: make(chan struct{}, 1), handed: make(chan handedOver, cfg.MaxPending),
		stop: make(chan struct{}), open: map[*proposal]struct{}{}, drained: make(chan struct{}),
	}
	go q.handOver()
	go q.collect()
	return q
}

// submit queues p. It never blocks.
func (q *proposer) submit(p *proposal) {
	if err := q.enqueue(p); err != nil {
		q.metrics.settled(err)
		p.settle(nil, 0, err)
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *proposer) enqueue(p *proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return withClass(NotApplied, ErrShutdown)
	case len(q.open) >= q.maxCount:
		return fmt.Errorf("%w: %d of at most %d", ErrOverloaded, len(q.open), q.maxCount)
	case q.bytes+int64(len(p.data)) > q.maxBytes:
		return fmt.Errorf("%w: %d bytes and %d more, at most %d", ErrOverloaded, q.bytes, len(p.data), q.maxBytes)
	}
	q.queue = append(q.queue, p)
	q.open[p] = struct{}{}
	q.bytes += int64(len(p.data))
	return nil
}

// finish settles p and gives its place free.
func (q *proposer) finish(p *proposal, result any, index uint64, err error) {
	p.settle(result, index, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.open[p]; !ok {
		return
	}
	q.metrics.settled(err)
	delete(q.open, p)
	q.bytes -= int64(len(p.data))
	q.noteDrained()
}

// noteDrained must be called with mu held.
func (q *proposer) noteDrained() {
	if !q.closed || len(q.open) > 0 {
		return
	}
	select {
	case <-q.drained:
	default:
		close(q.drained)
	}
}

// handOver gives queued proposals to Raft, one after the other.
func (q *proposer) handOver() {
	for {
		select {
		case <-q.stop:
			return
		case <-q.wake:
		}
		q.mu.Lock()
		batch := q.queue
		q.queue = nil
		q.mu.Unlock()
		for _, p := range batch {
			if err := context.Cause(p.ctx); err != nil {
				q.finish(p, nil, 0, withClass(NotApplied, fmt.Errorf("raftstore: given up in the queue: %w", err)))
				continue
			}
			// The channel has room for all that may be open.
			at := time.Now()
			q.handed <- handedOver{p: p, f: q.apply(p.data), at: at}
		}
	}
}

// collect waits for the outcomes.
func (q *proposer) collect() {
	for {
		select {
		case <-q.stop:
			return
		case h := <-q.handed:
			if err := h.f.Error(); err != nil {
				q.finish(h.p, nil, 0, applyError(err))
				continue
			}
			result, err := h.f.Response(), error(nil)
			if _, halted := result.(haltedResult); halted {
				result, err = nil, ErrHalted
			} else {
				q.metrics.committed(h.at)
			}
			q.finish(h.p, result, h.f.Index(), err)
		}
	}
}

// drain refuses new proposals and waits for the open ones until ctx ends.
func (q *proposer) drain(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	q.noteDrained()
	q.mu.Unlock()
	select {
	case <-q.drained:
	case <-ctx.Done():
	}
}

// abandon settles what is still open. It is called after Raft has stopped, when
// no outcome can come any more.
func (q *proposer) abandon() {
	close(q.stop)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, p := range q.queue {
		p.settle(nil, 0, withClass(NotApplied, ErrShutdown))
	}
	for p := range q.open {
		q.metrics.settled(withClass(Unknown, ErrShutdown))
		p.settle(nil, 0, withClass(Unknown, ErrShutdown))
	}
	clear(q.open)
	q.queue, q.bytes = nil, 0
	q.noteDrained()
}

func (q *proposer) size() (count int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.open), q.bytes
}

// applyError translates the outcome that Raft reports for an entry.
func applyError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: leadership is being handed over", ErrNotLeader)
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLeadershipLost
	case errors.Is(err, raft.ErrRaftShutdown):
		// Raft says the same before and after the entry was written.
		return withClass(Unknown, ErrShutdown)
	default:
		return fmt.Errorf("%w: %w", ErrAborted, err)
	}
}

// Propose puts a command in line for the log and returns at once.
//
// payload must not be changed until Propose returns; it is copied. ctx bounds
// the time in the queue before Raft takes the command, not what follows.
//
// # Consistency
//
// The order of calls is the order in the log. A command can be left out of that
// order (not applied) while a later one is taken, when leadership was lost and
// won again in between.
//
// # Errors
//
// Propose reports errors by the future: see [Future.Wait].
func (n *Node) Propose(ctx context.Context, cmdType uint32, payload []byte) Future {
	data, err := encodeEnvelope(cmdType, payload)
	switch {
	case err != nil:
	case n.shell.halted.Load():
		err = withClass(NotApplied, ErrHalted)
	case !n.IsLeader():
		err = ErrNotLeader
	}
	if err != nil {
		n.metrics.settled(err)
		return failedProposal(err)
	}
	p := newProposal(ctx, data)
	n.proposals.submit(p)
	return p
}
