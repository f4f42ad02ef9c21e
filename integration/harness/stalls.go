package harness

import (
	"sync/atomic"
	"testing"
	"time"
)

// Stalls counts how often this process, and with it every node in it, stood still
// because the machine had no time for it. A stall of the election timeout makes
// followers miss the leader's heartbeats, and the leader their answers, all at once:
// it may cost an election without any fault.
type Stalls struct{ count atomic.Int64 }

// stallTick is how often the process is asked whether it goes on.
const stallTick = 2 * time.Millisecond

// WatchStalls counts those of at least so long until the test ends.
func WatchStalls(t testing.TB, least time.Duration) *Stalls {
	t.Helper()
	s := &Stalls{}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		tick := time.NewTicker(stallTick)
		defer tick.Stop()
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-tick.C:
				if time.Since(last) >= least {
					s.count.Add(1)
				}
			case <-done:
				return
			}
		}
	}()
	return s
}

// Count is how many there were.
func (s *Stalls) Count() uint64 { return uint64(s.count.Load()) }
