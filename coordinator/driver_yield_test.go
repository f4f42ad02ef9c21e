package coordinator

import (
	"testing"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
)

// A periodic checkpoint gives way to who was refused, for a second behind the one that
// was pending, and never for longer.
func TestYields(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	x := &jobTimers{yieldBehind: 7}
	for _, c := range []struct {
		ms   int
		next uint64
		want bool
	}{{0, 7, false}, {10, 8, true}, {1009, 8, true}, {1010, 8, false}, {1500, 8, false}, {20, 9, false}} {
		if got := x.yields(at(c.ms), &internalv1.Job{NextCheckpointId: c.next}); got != c.want {
			t.Errorf("at %d ms with %d next: %v", c.ms, c.next, got)
		}
	}
	if (&jobTimers{}).yields(at(0), &internalv1.Job{NextCheckpointId: 1}) {
		t.Error("gives way to nobody")
	}
}
