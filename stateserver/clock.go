package stateserver

import "time"

// steadyClock is the time that this node writes into the log. It reads the wall
// clock once, when the node starts, and goes on by the monotonic clock: a wall
// clock that is set while the node runs changes nothing that is decided by these
// times (backoff, failures an interval), and no time runs backwards.
//
// The price: what people are shown is as wrong as the wall clock was at the start.
type steadyClock struct {
	wall  time.Time
	since time.Time // with a monotonic reading
}

func newSteadyClock(wall func() time.Time) steadyClock {
	if wall == nil {
		wall = time.Now
	}
	return steadyClock{wall: wall().Round(0), since: time.Now()}
}

// now is comparable with other times of the same clock alone.
func (c steadyClock) now() time.Time { return c.wall.Add(time.Since(c.since)) }
