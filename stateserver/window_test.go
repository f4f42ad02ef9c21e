package stateserver

import "testing"

// An answer to a frame that went twice acknowledges everything that was applied;
// the client sends as many more, and that must not count as too many.
func TestWindow_MovesWithTheAcknowledgedSeq(t *testing.T) {
	w := window{acked: 540}
	for n := range 64 {
		w.add(n)
	}
	w.ackThrough(560)
	if w.count() != 44 || w.acked != 560 {
		t.Fatalf("%d frames in flight behind %d", w.count(), w.acked)
	}
	w.ackThrough(545) // the answer to an older frame comes late
	if w.count() != 44 || w.acked != 560 {
		t.Fatalf("a late answer: %d frames in flight behind %d", w.count(), w.acked)
	}
	w.ackThrough(700)
	if w.count() != 0 || w.bytes != 0 {
		t.Fatalf("%d frames with %d bytes are left", w.count(), w.bytes)
	}
}
