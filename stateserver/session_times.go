package stateserver

import (
	"time"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// barrierTimes is what this host saw of the newest barrier of a stream.
type barrierTimes struct {
	checkpoint   uint64
	startDelay   time.Duration
	sent, passed time.Time
}

// barrierSent notes that a barrier goes to the client. The trigger's time is the
// leader's clock, so the delay is no better than the two clocks agree.
func (t *barrierTimes) barrierSent(checkpoint uint64, triggeredMs int64, now time.Time) {
	*t = barrierTimes{checkpoint: checkpoint, startDelay: max(now.Sub(time.UnixMilli(triggeredMs)), 0), sent: now}
}

// barrierPassed notes the cut. One of another checkpoint says nothing.
func (t *barrierTimes) barrierPassed(checkpoint uint64, now time.Time) {
	if checkpoint == t.checkpoint && t.passed.IsZero() {
		t.passed = now
	}
}

// ready gives the times of a checkpoint whose CheckpointReady came, nil if this
// stream did not send its barrier: the attempt was resumed here in between.
func (t *barrierTimes) ready(checkpoint uint64, now time.Time) *holdfastv1.SubtaskCheckpointTimes {
	if checkpoint != t.checkpoint || t.sent.IsZero() {
		return nil
	}
	out := &holdfastv1.SubtaskCheckpointTimes{StartDelayUs: uint64(t.startDelay.Microseconds())}
	if !t.passed.IsZero() {
		out.SyncUs = proto.Uint64(uint64(t.passed.Sub(t.sent).Microseconds()))
		out.AsyncUs = proto.Uint64(uint64(now.Sub(t.passed).Microseconds()))
	}
	return out
}
