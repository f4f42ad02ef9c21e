package raftstore

import (
	"sync"
	"time"
)

// watchdogTicks is how many ticks make up the deadline.
const watchdogTicks = 10

// watchdog reports operations that do not come back. It counts its own ticks
// instead of reading a clock, so that a process that was stopped and goes on
// (SIGSTOP, a suspended machine) is not taken for one with a hung disk.
type watchdog struct {
	onExpire func(op string)
	stop     chan struct{}
	wg       sync.WaitGroup

	mu   sync.Mutex
	next uint64
	ops  map[uint64]*watchedOp
}

type watchedOp struct {
	name  string
	ticks int
}

func newWatchdog(deadline time.Duration, onExpire func(op string)) *watchdog {
	w := &watchdog{onExpire: onExpire, stop: make(chan struct{}), ops: map[uint64]*watchedOp{}}
	w.wg.Go(func() { w.run(max(deadline/watchdogTicks, time.Millisecond)) })
	return w
}

func (w *watchdog) run(tick time.Duration) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-t.C:
			if op := w.tick(); op != "" {
				w.onExpire(op)
				return
			}
		}
	}
}

// tick ages all operations and returns the name of one that is too old.
func (w *watchdog) tick() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.ops {
		if op.ticks++; op.ticks > watchdogTicks {
			return op.name
		}
	}
	return ""
}

func (w *watchdog) begin(name string) (token uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	w.ops[w.next] = &watchedOp{name: name}
	return w.next
}

func (w *watchdog) end(token uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ops, token)
}

func (w *watchdog) close() {
	close(w.stop)
	w.wg.Wait()
}
