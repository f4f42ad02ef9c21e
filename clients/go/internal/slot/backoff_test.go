package slot

import (
	"log/slog"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Rule 3.5: an acknowledgement ends a row of failures, so that nodes that are
// restarted one after the other, faster than the heartbeats, are no outage.
func TestRule3_5_FlushAckEndsARowOfFailures(t *testing.T) {
	s := newSession(Config{}, "slot", newInbox(), slog.New(slog.DiscardHandler))
	s.hold(5, 7)
	s.failures = 9
	r := &reader{session: s, welcomed: true}
	ack := func(token uint64) {
		m := &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_FlushAck{FlushAck: &holdfastv1.FlushAck{FencingToken: token, ThroughSeq: 1}}}
		if _, err := r.handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if ack(6); s.failures != 9 {
		t.Error("an acknowledgement of another token counts")
	}
	if ack(7); s.failures != 0 {
		t.Errorf("%d failures after an acknowledgement", s.failures)
	}
}
