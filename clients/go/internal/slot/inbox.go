package slot

import (
	"sync"
	"sync/atomic"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// event is what the reading goroutine hands to the processing one. Exactly one
// of welcome, msg and fatal is set.
type event struct {
	// gen numbers the stream that it came from.
	gen     uint64
	welcome *holdfastv1.Welcome
	msg     *holdfastv1.HostMessage
	// restored is the operator state of an Assign.
	restored []*holdfastv1.OperatorState
	fatal    error
}

// inbox is an unbounded queue: the reading goroutine must never wait for user
// code (rule 3.4). What a host may send unasked is small and bounded by what
// was sent up.
type inbox struct {
	mu     sync.Mutex
	events []event
	// attention is set while somebody wants the processing goroutine: it looks
	// here after each record, because a load is all that it can afford.
	attention atomic.Bool
	wake      chan struct{}
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(e event) {
	b.mu.Lock()
	b.events = append(b.events, e)
	b.mu.Unlock()
	b.poke()
}

// poke asks for the attention of the processing goroutine without an event.
func (b *inbox) poke() {
	b.attention.Store(true)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns everything there is and lowers the attention flag.
func (b *inbox) take() []event {
	b.attention.Store(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}
